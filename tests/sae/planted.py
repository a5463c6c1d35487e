"""Activations made from a dictionary that is known: what an autoencoder should find again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Planted:
    """Rows that are sparse sums of known directions around a mean offset.

    Attributes:
        dictionary: (features, d), the true directions, of norm 1.
        rows: (n, d).
        outlier: bool (n,), rows scaled up thirtyfold.
        frequency: (features,), how often each feature fires.
    """

    dictionary: Tensor
    rows: Tensor
    outlier: Tensor
    frequency: Tensor

    @property
    def ordinary(self) -> Tensor:
        """The rows that a trainer keeps."""
        return self.rows[~self.outlier]

    def found(self, directions: Tensor) -> float:
        """Mean over the true directions of the largest cosine to a learned one."""
        learned = directions / directions.norm(dim=1, keepdim=True)
        return float((self.dictionary @ learned.to(self.dictionary).T).amax(1).mean())


def plant(
    d: int,
    features: int,
    n: int,
    *,
    active: float = 4.0,
    correlation: float = 0.5,
    group: int = 8,
    offset: float = 5.0,
    outliers: float = 0.01,
    seed: int = 0,
) -> Planted:
    """Features whose frequencies differ tenfold, that fire together in groups.

    A feature fires where a standard normal that it shares in part with its group falls below the
    quantile of its frequency; its size is 0.5 plus the absolute value of another normal.

    Args:
        d: width.
        features: how many directions.
        n: how many rows.
        active: how many fire in a row on average.
        correlation: of the normals within a group.
        group: how many neighbours form one; their frequencies differ as everyone's do.
        offset: norm of the mean added to every row.
        outliers: share of rows that are thirty times as long.
        seed: of everything.
    """
    # far from small seeds: weights drawn from the same seed would be the truth itself
    made = torch.Generator().manual_seed(1_000_003 + seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=made)

    dictionary = normal(features, d)
    dictionary /= dictionary.norm(dim=1, keepdim=True)
    frequency = 10 ** -torch.linspace(0, 1, features)[torch.randperm(features, generator=made)]
    frequency *= active / frequency.sum()
    quantile = torch.special.ndtri(frequency.double()).float()
    shared = normal(n, -(-features // group)).repeat_interleave(group, 1)[:, :features]
    own = normal(n, features)
    fires = correlation**0.5 * shared + (1 - correlation) ** 0.5 * own < quantile
    rows = (fires * (0.5 + normal(n, features).abs())) @ dictionary + 0.02 * normal(n, d)
    centre = normal(d)
    rows += offset * centre / centre.norm()
    outlier = torch.rand(n, generator=made) < outliers
    return Planted(dictionary, torch.where(outlier[:, None], 30 * rows, rows), outlier, frequency)
