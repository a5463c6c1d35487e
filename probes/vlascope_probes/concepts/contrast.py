"""The contrastive score of features, and how sure it is: d, its interval, its held-out lowest.

d = (mu_in - mu_out) / sqrt((s2_in + s2_out) / 2), freq = P_in(f > 0), score = d * freq where d is
positive (arXiv 2603.19233). |d| of at least 0.2, 0.8, 2 is weak, strong, very strong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

__all__ = ["LARGEST", "Level", "Sums", "level_of", "resampled", "without_each"]

Floats = npt.NDArray[np.float64]
Level = Literal["none", "weak", "strong", "very strong"]

LARGEST: Final = 100.0
"""|d| is cut off here: a feature that never varies has any d one likes."""


def level_of(d: float) -> Level:
    """How large an effect is, by the published bounds."""
    size = abs(d)
    return (
        "very strong"
        if size >= 2
        else "strong"
        if size >= 0.8
        else "weak"
        if size >= 0.2
        else "none"
    )


@dataclass(frozen=True, eq=False)
class Sums:
    """What d needs, of moments in and out of the concept; the leading axes are any.

    Attributes:
        n_in, n_out: numbers of moments, (..., 1).
        in_, out: sums of values, (..., features).
        in2, out2: sums of squares, (..., features).
        fired: sums of the share fired, within the concept, (..., features); None without.
    """

    n_in: Floats
    n_out: Floats
    in_: Floats
    out: Floats
    in2: Floats
    out2: Floats
    fired: Floats | None = None

    @classmethod
    def of(
        cls,
        values: npt.NDArray[np.floating],
        truth: npt.NDArray[np.bool_],
        fired: npt.NDArray[np.floating] | None = None,
        groups: npt.NDArray[np.int64] | None = None,
    ) -> Sums:
        """Sums over rows, by group (first axis) where groups are given, else over all."""
        member = np.zeros(len(truth), np.int64) if groups is None else groups
        inside, outside = _adding(member, truth), _adding(member, ~truth)
        x = values.astype(np.float64)
        return cls(
            np.asarray(inside.sum(1)).reshape(-1, 1),
            np.asarray(outside.sum(1)).reshape(-1, 1),
            inside @ x,
            outside @ x,
            inside @ x**2,
            outside @ x**2,
            None if fired is None else inside @ fired.astype(np.float64),
        )

    def weighted(self, weights: Floats) -> Sums:
        """Sums over groups, each counted as often as `weights`, (draws, groups), says."""
        return Sums(
            weights @ self.n_in,
            weights @ self.n_out,
            weights @ self.in_,
            weights @ self.out,
            weights @ self.in2,
            weights @ self.out2,
            None if self.fired is None else weights @ self.fired,
        )

    @property
    def d(self) -> Floats:
        """Standardised difference, (..., features); NaN with fewer than two moments on a side."""
        return _standardised(self.n_in, self.n_out, self.in_, self.out, self.in2, self.out2)

    @property
    def freq(self) -> Floats:
        """How often a feature fires within the concept; 1 where firing means nothing."""
        if self.fired is None:
            return np.ones_like(self.in_)
        return self.fired / np.maximum(self.n_in, 1)

    @property
    def score(self) -> Floats:
        """D * freq on the positive side, else 0."""
        return np.maximum(self.d, 0) * self.freq


def _adding(member: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]) -> csr_array:
    """What adds up the chosen rows of each group, (groups, rows)."""
    groups = int(member.max()) + 1 if len(member) else 1
    rows = np.flatnonzero(chosen)
    return csr_array((np.ones(len(rows)), (member[rows], rows)), shape=(groups, len(member)))


def _standardised(
    n_in: Floats, n_out: Floats, in_: Floats, out: Floats, in2: Floats, out2: Floats
) -> Floats:
    few = np.minimum(n_in, n_out) < 2
    a, b = np.maximum(n_in, 2), np.maximum(n_out, 2)
    mean_in, mean_out = in_ / a, out / b
    var_in = np.maximum(in2 - a * mean_in**2, 0) / (a - 1)
    var_out = np.maximum(out2 - b * mean_out**2, 0) / (b - 1)
    gap, spread = mean_in - mean_out, np.sqrt((var_in + var_out) / 2)
    # Differences and spreads at the level of rounding are none.
    tiny = 1e-6 * np.maximum(np.maximum(np.abs(mean_in), np.abs(mean_out)), 1e-12)
    d = np.where(np.abs(gap) <= tiny, 0.0, gap / np.maximum(spread, tiny / LARGEST))
    return np.where(few, np.nan, np.clip(d, -LARGEST, LARGEST))


def resampled(by_episode: Sums, draws: int, seed: int) -> Sums:
    """The sums of `draws` bootstrap samples of whole episodes, (draws, features)."""
    n = len(by_episode.n_in)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    return by_episode.weighted(weights.astype(np.float64))


def without_each(by_task: Sums) -> Floats:
    """The lowest score with any one task left out, (features,); NaN where one task is all there is.

    A feature that stands for one task rather than the concept falls to nothing here.
    """
    n = len(by_task.n_in)
    if n < 2:
        return np.full(by_task.in_.shape[-1], np.nan)
    left = by_task.weighted(np.ones((n, n)) - np.eye(n))
    scores = np.where(np.isnan(left.d), np.nan, left.score)
    return scores.min(0)
