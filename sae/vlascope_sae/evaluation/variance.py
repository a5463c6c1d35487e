"""Fraction of variance unexplained, over a whole held-out set, streaming and in float64."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

__all__ = ["Variance", "fraction_unexplained"]


class Variance:
    """FVU = sum |x - x_hat|^2 / sum |x - mean|^2, the mean being that of every row seen.

    Rows may come in batches of any size: the sums do not depend on how they are cut, and no
    batch's own mean or variance enters. Means are merged after Chan, Golub and LeVeque (1983).
    """

    def __init__(self) -> None:
        self.rows = 0
        self._error: Tensor | None = None
        self._spread: Tensor | None = None
        self._mean: Tensor | None = None

    def add(self, x: Float[Tensor, "rows d"], x_hat: Float[Tensor, "rows d"]) -> None:
        """Take in some rows and what was made of them, in the same units."""
        if x.shape != x_hat.shape:
            raise ValueError(f"rows of {tuple(x.shape)} against {tuple(x_hat.shape)}")
        if not len(x):
            return
        rows = x.detach().double()
        error = (rows - x_hat.detach().double()).square().sum()
        mean = rows.mean(0)
        spread = (rows - mean).square().sum()
        if self._mean is None or self._error is None or self._spread is None:
            self._mean, self._error, self._spread = mean, error, spread
        else:
            total = self.rows + len(x)
            apart = mean - self._mean
            between = apart.square().sum() * (self.rows * len(x) / total)
            self._spread = self._spread + spread + between
            self._error = self._error + error
            self._mean = self._mean + apart * (len(x) / total)
        self.rows += len(x)

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """The mean row."""
        return self._seen()[2]

    @property
    def total(self) -> float:
        """Sum over rows of |x - mean|^2."""
        return float(self._seen()[1])

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained: 0 is perfect, 1 is no better than the mean row.

        Raises:
            ValueError: no rows were added, or they are all equal.
        """
        error, spread, _ = self._seen()
        if not float(spread) > 0:
            raise ValueError(f"all {self.rows} rows are equal: there is no variance to explain")
        return float(error / spread)

    @property
    def explained(self) -> float:
        """1 - FVU."""
        return 1.0 - self.fvu

    def _seen(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._error is None or self._spread is None or self._mean is None:
            raise ValueError("no rows were added")
        return self._error, self._spread, self._mean


def fraction_unexplained(x: Float[Tensor, "rows d"], x_hat: Float[Tensor, "rows d"]) -> float:
    """FVU of rows that fit into memory."""
    variance = Variance()
    variance.add(x, x_hat)
    return variance.fvu
