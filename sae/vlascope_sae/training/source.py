"""Where training rows come from: the promise of every source, and batches as they come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vlascope.errors import UnusableActivations

__all__ = ["Batch", "Source", "Taken", "median_norm", "without_outliers"]


@dataclass(frozen=True, eq=False)
class Taken:
    """Rows as read, before any is dropped; `target` is None where rows predict themselves.

    Where a source gives pairs, `x` is (rows, 2, d): the same token now and at its next time.
    """

    x: Float[Tensor, "rows *pair d"]
    target: Float[Tensor, "rows o"] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Tensor | slice) -> Taken:
        """Some of them."""
        return Taken(self.x[index], None if self.target is None else self.target[index])


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows for one step, float32.

    Attributes:
        x: what is read.
        target: what is to be predicted; None for `x`.
        drawn: rows taken from the source, with those dropped.
        dropped: rows left out for their norm.
    """

    x: Float[Tensor, "rows *pair d"]
    target: Float[Tensor, "rows o"] | None
    drawn: int
    dropped: int


class Source(ABC):
    """Rows of one site: an endless training stream to be entered anywhere, and a held-out set.

    Attributes:
        name: of the site, for messages and folders.
        width: of a row.
        target_width: of what is predicted; None where that is the row itself.
        outliers: rows above so many medians of the norm are dropped; None for none.
        pairs: whether training rows come as pairs; held-out rows never do.
    """

    name: str
    width: int
    target_width: int | None
    outliers: float | None
    pairs: bool = False

    @abstractmethod
    def stream(self, rows: int, *, drawn: int = 0) -> Iterator[Taken]:
        """Training rows in batches of `rows`, for ever, from the `drawn`-th row on."""

    @abstractmethod
    def validation(self, rows: int, *, limit: int | None = None) -> Iterator[Taken]:
        """The held-out rows once, in batches of at most `rows`, at most `limit` in all."""

    @property
    @abstractmethod
    def held_out_rows(self) -> int:
        """How many rows `validation` gives."""

    def sample(self, rows: int) -> Taken:
        """The first training rows of the stream, from which constants are estimated."""
        stream = self.stream(rows)
        taken = next(stream)
        close = getattr(stream, "close", None)
        if close is not None:
            close()
        return Taken(taken.x[:, 0], taken.target) if taken.x.ndim == 3 else taken


def median_norm(x: Float[Tensor, "rows d"], name: str) -> float:
    """The median norm of rows.

    Raises:
        UnusableActivations: a number is not finite, or all rows are equal.
    """
    norms = _norms(x, name)
    if not bool((x != x[0]).any()):
        raise UnusableActivations(
            f"{name}: all {len(x)} rows that were looked at are equal; there is nothing to learn. "
            "Is this hook point dead, or were the activations of one moment recorded only?"
        )
    return float(norms.median())


def without_outliers(taken: Taken, limit: float | None, name: str) -> Batch:
    """Float32 rows whose norm is at most `limit`, and how many were not.

    Raises:
        UnusableActivations: a number is not finite.
    """
    x = taken.x.float()
    target = None if taken.target is None else taken.target.float()
    norms = _norms(x, name)
    if target is not None:
        _norms(target, f"{name} (target)")
    if norms.ndim == 2:
        norms = norms.amax(1)
    if limit is None or bool((keep := norms <= limit).all()):
        return Batch(x, target, len(x), 0)
    kept = None if target is None else target[keep]
    return Batch(x[keep], kept, len(x), int((~keep).sum()))


def _norms(x: Tensor, name: str) -> Tensor:
    norms = torch.linalg.vector_norm(x, dim=-1)
    if not bool(torch.isfinite(norms).all()):
        bad = int((~torch.isfinite(x.flatten(1)).all(dim=1)).sum())
        raise UnusableActivations(
            f"{name}: {bad} of {len(x)} rows hold NaN or infinity; find the episodes they come "
            "from and leave them out (episodes: [...]), or record them again in float32"
        )
    return norms
