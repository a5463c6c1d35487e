"""Ridge regression from sufficient statistics: data is gone through once, whatever its size.

For each fold k of episodes the sums of 1, x, y, x xᵀ, x yᵀ and y² are kept; the statistics of any
training set are sums of these, and so is a test fold's squared error. Cross-validation, the choice
of the penalty and every shuffled control then cost no pass over the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["PENALTIES", "Moments", "Ridge", "cross_validated", "moments_by_fold", "on_all"]

Floats = npt.NDArray[np.float64]

PENALTIES: Final = tuple(float(p) for p in np.logspace(-4, 2, 13))
"""λ of ‖y − zw‖²/n + λ‖w‖² on standardised z: scikit-learn's alpha is λ n."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over rows, x being shifted by one constant vector for all folds.

    Attributes:
        n: rows. x: (d,). y, yy: (k,). xx: (d, d). xy: (d, k).
    """

    n: float
    x: Floats
    y: Floats
    xx: Floats
    xy: Floats
    yy: Floats

    @classmethod
    def zero(cls, d: int, k: int) -> Moments:
        """Of no rows."""
        return cls(0.0, np.zeros(d), np.zeros(k), np.zeros((d, d)), np.zeros((d, k)), np.zeros(k))

    @classmethod
    def of(cls, x: Floats, y: Floats) -> Moments:
        """Of these rows, (n, d) and (n, k)."""
        return cls(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, (y * y).sum(0))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    def removed(self, basis: Floats) -> Moments:
        """As if x had been projected off the rows of `basis`, (r, d), orthonormal."""
        keep = np.eye(len(self.x)) - basis.T @ basis
        return Moments(
            self.n, keep @ self.x, self.y, keep @ self.xx @ keep, keep @ self.xy, self.yy
        )

    @property
    def covariance_xx(self) -> Floats:
        """Of x, (d, d)."""
        return self.xx / self.n - np.outer(self.x, self.x) / self.n**2

    @property
    def covariance_xy(self) -> Floats:
        """Of x and y, (d, k)."""
        return self.xy / self.n - np.outer(self.x, self.y) / self.n**2

    def squared_error(self, weights: Floats, intercept: Floats) -> Floats:
        """Σ (y − xw − b)² over these rows, (k,), for (d, k) and (k,)."""
        fitted = (weights * (self.xx @ weights)).sum(0)
        cross = (weights * self.xy).sum(0)
        linear = self.x @ weights
        return (
            self.yy - 2 * cross + fitted + self.n * intercept**2 - 2 * intercept * (self.y - linear)
        )


@dataclass(frozen=True, eq=False)
class Ridge:
    """Fitted probes, one per column: y = x @ weights + intercept."""

    weights: Floats
    intercept: Floats

    @classmethod
    def path(cls, train: Moments, penalties: Sequence[float]) -> list[Ridge]:
        """One fit per penalty, from one decomposition; x is standardised inside."""
        mean, covariance = train.x / train.n, train.covariance_xx
        scale = np.sqrt(np.clip(np.diag(covariance), 0, None))
        largest = scale.max(initial=0.0)
        inverse = np.where(scale > 1e-6 * max(largest, 1e-30), 1 / np.maximum(scale, 1e-30), 0.0)
        values, vectors = np.linalg.eigh(covariance * np.outer(inverse, inverse))
        target = vectors.T @ (train.covariance_xy * inverse[:, None])
        fits = []
        for penalty in penalties:
            solved = vectors @ (target / (np.clip(values, 0, None) + penalty)[:, None])
            weights = solved * inverse[:, None]
            fits.append(cls(weights, train.y / train.n - mean @ weights))
        return fits

    @staticmethod
    def picked(path: Sequence[Ridge], index: npt.NDArray[np.int64]) -> Ridge:
        """Each column from its own place on the path, (k,)."""
        columns = range(len(index))
        weights = np.stack([path[index[c]].weights[:, c] for c in columns], axis=1)
        return Ridge(weights, np.array([path[index[c]].intercept[c] for c in columns]))


def moments_by_fold(
    blocks: Iterable[tuple[Floats, Floats, npt.NDArray[np.int64]]], folds: int
) -> tuple[list[Moments], Floats]:
    """Sums by fold over (x, y, fold of each row), and the shift: x is minus it inside.

    A fold of -1 leaves a row out.
    """
    sums: list[Moments] = []
    shift: Floats = np.zeros(0)
    for x, y, fold in blocks:
        if not sums and len(x):
            shift = x.mean(0)
            sums = [Moments.zero(x.shape[1], y.shape[1]) for _ in range(folds)]
        for k in np.unique(fold[fold >= 0]):
            rows = fold == k
            sums[k] = sums[k] + Moments.of(x[rows] - shift, y[rows])
    return sums, shift


def cross_validated(folds: Sequence[Moments]) -> list[Ridge]:
    """For each fold the fit on all others; their penalty is chosen among the others alone.

    The penalty of a training set is that with the least squared error when each of its folds is
    predicted from the rest of it (nested cross-validation).
    """
    total = sum(folds[1:], folds[0])
    count = len(folds)
    without: dict[tuple[int, int], list[Ridge]] = {}
    for i in range(count):
        for j in range(i + 1, count):
            if count > 2:
                train = total + _negative(folds[i]) + _negative(folds[j])
                without[i, j] = Ridge.path(train, PENALTIES)
    fits = []
    for k in range(count):
        path = Ridge.path(total + _negative(folds[k]), PENALTIES)
        columns = len(total.y)
        index = np.full(columns, len(PENALTIES) // 2)
        if count > 2:
            errors = sum(
                np.stack(
                    [
                        folds[j].squared_error(f.weights, f.intercept)
                        for f in without[min(j, k), max(j, k)]
                    ]
                )
                for j in range(count)
                if j != k
            )
            index = np.argmin(errors, axis=0)
        fits.append(Ridge.picked(path, index))
    return fits


def on_all(folds: Sequence[Moments]) -> Ridge:
    """The fit on every row, with the penalty that predicts left-out folds best."""
    total = sum(folds[1:], folds[0])
    errors = sum(
        np.stack(
            [
                test.squared_error(f.weights, f.intercept)
                for f in Ridge.path(total + _negative(test), PENALTIES)
            ]
        )
        for test in folds
    )
    return Ridge.picked(Ridge.path(total, PENALTIES), np.argmin(errors, axis=0))


def _negative(m: Moments) -> Moments:
    return Moments(-m.n, -m.x, -m.y, -m.xx, -m.xy, -m.yy)
