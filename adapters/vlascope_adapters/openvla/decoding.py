"""From what the network says to what the robot does, as the published code has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from vlascope.errors import CorruptFile
from vlascope.specs import ActionSpec

__all__ = ["Bounds", "bin_centres", "detokenised", "gripper_commands"]

BoundsKind = Literal["q99", "min_max"]
_NAMES: Mapping[BoundsKind, tuple[str, str]] = {"q99": ("q01", "q99"), "min_max": ("min", "max")}


@dataclass(frozen=True, eq=False)
class Bounds:
    """The range that -1 to 1 stands for, per dimension, as a dataset's statistics give it.

    Attributes:
        low, high: float64 (dim,): the 1st and 99th percentile, or the extremes.
        mask: bool (dim,); false where numbers are left as they are (the gripper's).
        margin: added to the width of the range, against division by zero: 1e-8 in OFT.
    """

    low: Tensor
    high: Tensor
    mask: Tensor
    margin: float = 0.0

    @classmethod
    def of(
        cls, statistics: Mapping[str, Any], kind: BoundsKind = "q99", margin: float = 0.0
    ) -> Self:
        """Read from `norm_stats[dataset]["action"]` or `["proprio"]`.

        Raises:
            CorruptFile: they lack the numbers, or have unequal counts of them.
        """
        names = _NAMES[kind]
        if any(name not in statistics for name in names):
            raise CorruptFile(f"the statistics have {sorted(statistics)}, and not {names}")
        low, high = (torch.tensor(statistics[name], dtype=torch.float64) for name in names)
        mask = torch.tensor(statistics.get("mask", [True] * len(low)))
        if not low.shape == high.shape == mask.shape:
            raise CorruptFile(f"{names} and mask of the statistics differ in length")
        return cls(low, high, mask, margin)

    @property
    def dim(self) -> int:
        """How many numbers they are for."""
        return len(self.low)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """What decides the result, for a hash of the policy."""
        return {f"{name}.low": self.low, f"{name}.high": self.high, f"{name}.mask": self.mask}

    def scaled(self, values: Tensor) -> Tensor:
        """Values (..., dim) brought to -1 to 1 and cut there."""
        width = self.high - self.low + self.margin
        return torch.where(self.mask, 2 * (values - self.low) / width - 1, values).clamp(-1, 1)

    def unscaled(self, scaled: Tensor) -> Tensor:
        """Float64 values from scaled ones, (..., dim); nothing is cut."""
        low, high, mask = (t.to(scaled.device) for t in (self.low, self.high, self.mask))
        return torch.where(mask, 0.5 * (scaled + 1) * (high - low + self.margin) + low, scaled)


def bin_centres(n_bins: int) -> Tensor:
    """The values that action tokens stand for, float64 (n_bins - 1,), lowest first."""
    edges = np.linspace(-1, 1, n_bins)
    return torch.from_numpy((edges[:-1] + edges[1:]) / 2)


def detokenised(ids: Tensor, first_free_id: int, n_bins: int) -> Tensor:
    """Scaled float64 actions from token ids, same shape.

    Ids count downwards from the end of the vocabulary: the last one is the lowest value. There is
    one id more than there are values, and the first of them means the highest value as the next
    one does. Any other token means the value that is nearest by its id, which is the highest.
    """
    centres = bin_centres(n_bins).to(ids.device)
    return centres[(first_free_id - ids - 1).clamp(0, n_bins - 2)]


def gripper_commands(actions: Tensor, bounds: Bounds, spec: ActionSpec) -> Tensor:
    """Unmasked grippers, 0 closed to 1 open in the data, as -1 or 1 in the robot's convention."""
    free = torch.tensor([n.endswith("gripper") for n in spec.names]) & ~bounds.mask
    opens = torch.sign(2 * actions - 1)
    commands = opens if spec.gripper == "positive_opens" else -opens
    return torch.where(free.to(actions.device), commands, actions)
