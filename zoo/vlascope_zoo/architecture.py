"""What an architecture has to say for itself to be trained here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

import torch
from torch import Tensor, nn

from vlascope_zoo.recipe import Recipe

__all__ = ["Architecture", "Batch", "Moments", "Statistics", "architecture_of"]

Moments = Mapping[str, Tensor]
"""`mean`, `std`, `min`, `max`, `q01` and `q99`, float32 tensors of one shape."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of all demonstrations, in the benchmark's units.

    Attributes:
        state: of the robot's state, (4,) each.
        action: of single actions, (4,) each.
        picture: of pixels in 0..1, (3, 1, 1) each.
        pixels: uint8 (64, 96, 96, 3), pictures drawn with seed 0, for whoever wants to
            fit a scale to data.
    """

    state: Moments
    action: Moments
    picture: Moments
    pixels: Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """What a policy sees and what it should do.

    Attributes:
        pictures: uint8 (batch, 96, 96, 3).
        instructions: one a row; some are empty.
        state: float32 (batch, 4), raw.
        actions: float32 (batch, horizon, 4), raw, in -1..1.
        valid: bool (batch, horizon), false past the end of the demonstration.
    """

    pictures: Tensor
    instructions: Sequence[str]
    state: Tensor
    actions: Tensor
    valid: Tensor


class Architecture(ABC):
    """One family of policies: how it is built, what it is trained by, how it is kept."""

    @abstractmethod
    def build(self, recipe: Recipe, statistics: Statistics, folder: Path) -> nn.Module:
        """The upstream class at small width, its weights drawn from the recipe's seed.

        `folder` is where the policy will be saved: files that the class is built from (a
        tokenizer, a backbone's config) are written there. Called again with the same folder it
        gives the same.
        """

    @abstractmethod
    def loss(self, policy: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Upstream's own training loss, a scalar; actions that are not valid do not count.

        Noise comes from `generator`; what upstream draws from torch's global generator is seeded
        by the trainer before each step.
        """

    @abstractmethod
    def save(self, policy: nn.Module, folder: Path) -> None:
        """Write the hub's layout of this family: config, safetensors, processors, statistics."""


def architecture_of(recipe: Recipe) -> Architecture:
    """A new instance of the recipe's architecture.

    Raises:
        TypeError: the import string leads to something else.
    """
    cls = resolve_name(recipe.architecture)
    if not (isinstance(cls, type) and issubclass(cls, Architecture)):
        raise TypeError(f"{recipe.architecture} is no Architecture: {cls!r}")
    return cls()
