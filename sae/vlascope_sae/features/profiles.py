"""How much every feature fires: overall, by task, by phase, and how strongly."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["BINS", "LOWEST_EXPONENT", "Histogram", "Profile"]

LOWEST_EXPONENT: Final = -10
BINS: Final = 20
"""Bin b begins at 2^(LOWEST_EXPONENT + b) and ends at twice that; the ends hold what is beyond."""


class Profile:
    """Rows, firings, sum and maximum of every feature in each of several groups of rows."""

    def __init__(self, features: int, groups: int) -> None:
        self.rows = torch.zeros(groups, dtype=torch.int64)
        self.fired = torch.zeros(groups, features, dtype=torch.int64)
        self.total = torch.zeros(groups, features, dtype=torch.float64)
        self.largest = torch.zeros(groups, features)

    def add(
        self,
        group: Int[Tensor, " m"],
        rows: Int[Tensor, " m"],
        fired: Int[Tensor, "m f"],
        total: Float[Tensor, "m f"],
        largest: Float[Tensor, "m f"],
    ) -> None:
        """Take some moments, each of which belongs to one group."""
        for g in sorted(set(group.tolist())):
            inside = group == g
            self.rows[g] += rows[inside].sum()
            self.fired[g] += fired[inside].sum(0)
            self.total[g] += total[inside].double().sum(0)
            self.largest[g] = torch.maximum(self.largest[g], largest[inside].amax(0))

    def tensors(self, name: str) -> dict[str, Tensor]:
        """What is stored, under `name.*`."""
        return {
            f"{name}.rows": self.rows,
            f"{name}.fired": self.fired,
            f"{name}.total": self.total,
            f"{name}.largest": self.largest,
        }


class Histogram:
    """How often every feature fired with a value of each power of two."""

    def __init__(self, features: int) -> None:
        self.counts = torch.zeros(features, BINS, dtype=torch.int64)

    def add(self, features: Int[Tensor, " n"], values: Float[Tensor, " n"]) -> None:
        """Count values above 0, each of one feature."""
        _, exponent = torch.frexp(values)
        bins = (exponent.long() - 1 - LOWEST_EXPONENT).clamp(0, BINS - 1)
        flat = torch.bincount(features * BINS + bins, minlength=self.counts.numel())
        self.counts += flat.reshape(self.counts.shape)
