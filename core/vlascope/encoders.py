"""Features of activations, whoever made the encoder: how one is opened, read and edited with.

What trains encoders (sparse autoencoders) and what asks questions of their features (concepts)
know only this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from vlascope.errors import CorruptFile, FileMissing
from vlascope.hooks import HookPoint

__all__ = ["Encoder", "OpenEncoder", "open_encoder"]


class Encoder(Protocol):
    """Turns activations of one hook point into features that are zero or positive."""

    @property
    def path(self) -> str:
        """Where it lies."""
        ...

    @property
    def at(self) -> HookPoint | None:
        """The hook point whose activations it reads; None where it does not say."""
        ...

    @property
    def tokens(self) -> tuple[str, ...] | None:
        """Globs of the token spans it was made for; None for all."""
        ...

    @property
    def calls(self) -> tuple[int, ...] | None:
        """The calls of a chunk it was made for; None for all."""
        ...

    @property
    def pool(self) -> str:
        """`none` where a row is a token, else how the tokens of a firing become one row."""
        ...

    @property
    def width(self) -> int:
        """Of the activations."""
        ...

    @property
    def features(self) -> int:
        """How many there are."""
        ...

    @property
    def policy(self) -> str:
        """The checkpoint hash of the policy it was made for; empty where it does not say."""
        ...

    def encode(self, rows: Tensor) -> Tensor:
        """Features float32 (n, features), at least 0, of activations (n, width)."""
        ...

    def direction(self, feature: int) -> Tensor:
        """The unit direction, float32 (width,), along which a feature moves an activation."""
        ...

    def edit(self, features: Sequence[int], *, add: float | None = None) -> dict[str, Any]:
        """The intervention, as plain data, that ablates features, or adds to each of them.

        It acts at the hook point, tokens and calls that the encoder was made for.
        """
        ...


OpenEncoder = Callable[[Path], Encoder | None]
"""What a plugin registers: the encoder of a path, or None where that is not of its kind."""


def open_encoder(path: str | Path) -> Encoder:
    """The encoder that lies there, of whatever kind a plugin can open.

    Raises:
        FileMissing: there is nothing.
        CorruptFile: no plugin knows what lies there.
    """
    from vlascope import plugins

    path = Path(path)
    if not path.exists():
        raise FileMissing(f"{path} does not exist; name the folder of a trained encoder")
    for name in plugins.encoders():
        found: Encoder | None = plugins.load("encoders", name)(path)
        if found is not None:
            return found
    known = ", ".join(sorted(plugins.encoders())) or "none"
    raise CorruptFile(f"{path} is no encoder that an installed plugin can open (known: {known})")
