"""Ridge probes for numbers, all targets of a place at once, by two passes over the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlascope_probes.linear.grams import Moments, Ridge, cross_validated, moments_by_fold
from vlascope_probes.linear.outcome import Outcome, ratio_interval
from vlascope_probes.linear.rows import Features, values_at
from vlascope_probes.linear.splits import Split
from vlascope_probes.linear.targets import Target

__all__ = ["Statistics", "columns_by_gaps", "regression_outcomes", "statistics_of"]

Floats = npt.NDArray[np.float64]
_STRIP = 8192


@dataclass(frozen=True, eq=False)
class Statistics:
    """Everything about the rows of one place that ridge probes need.

    Attributes:
        folds: sums by fold, of the real columns first, then the controls'.
        shift: what was taken off x.
        real: how many columns are real.
    """

    folds: list[Moments]
    shift: Floats
    real: int

    @property
    def total(self) -> Moments:
        """Over all folds."""
        return sum(self.folds[1:], self.folds[0])

    def removed(self, basis: Floats) -> Statistics:
        """As if the rows had been projected off an orthonormal basis, (r, d)."""
        return Statistics([m.removed(basis) for m in self.folds], self.shift, self.real)

    def scores(self) -> tuple[Floats, list[Ridge]]:
        """Held-out R² of every column, and the fits by fold."""
        fits = cross_validated(self.folds)
        error = np.zeros(len(self.total.y))
        spread = np.zeros_like(error)
        for test, fit in zip(self.folds, fits, strict=True):
            error += test.squared_error(fit.weights, fit.intercept)
            spread += test.squared_error(np.zeros_like(fit.weights), _training_mean(self, test))
        return 1 - error / np.maximum(spread, 1e-300), fits


def statistics_of(
    features: Features, y: Floats, split: Split, controls: Sequence[Target] = ()
) -> Statistics:
    """One pass: sums by fold.

    Args:
        features: the rows.
        y: (rows, k); no gaps among the rows of a fold.
        split: the fold of every row, -1 for rows left out.
        controls: shuffled targets with gaps where y has none, k of each repetition side by side.
    """
    folds, shift = moments_by_fold(_strips(features, y, controls, split.fold), split.count)
    return Statistics(folds, shift, y.shape[1])


def regression_outcomes(
    features: Features, y: Floats, statistics: Statistics, split: Split, seed: int
) -> list[Outcome]:
    """The held-out R² of each real column, with episode intervals (a second pass) and controls.

    R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ_train)²: predicting the training mean scores 0.
    """
    scores, fits = statistics.scores()
    k = statistics.real
    means = [_training_mean(statistics, m)[:k] for m in statistics.folds]
    error = np.zeros((len(features.episodes), k))
    spread = np.zeros_like(error)
    start = 0
    for block in features.blocks():
        rows = slice(start, start + len(block.x))
        start += len(block.x)
        for fold in np.unique(split.fold[rows]):
            if fold < 0:
                continue
            inside = split.fold[rows] == fold
            fit, truth = fits[fold], y[rows][inside]
            x = block.x[inside].astype(np.float64) - statistics.shift
            residual = truth - (x @ fit.weights[:, :k] + fit.intercept[:k])
            np.add.at(error, block.episode[inside], residual**2)
            np.add.at(spread, block.episode[inside], (truth - means[fold]) ** 2)
    present = np.flatnonzero(spread.sum(1) > 0)
    outcomes = []
    for c in range(k):
        estimate = ratio_interval(
            error[present, c : c + 1], spread[present, c : c + 1], "r2", seed, float(scores[c])
        )
        controls = tuple(float(s) for s in scores[k + c :: k])
        outcomes.append(Outcome(estimate, controls, int(statistics.total.n)))
    return outcomes


def _training_mean(statistics: Statistics, test: Moments) -> Floats:
    total = statistics.total
    return (total.y - test.y) / (total.n - test.n)


def _strips(
    features: Features, y: Floats, controls: Sequence[Target], fold: npt.NDArray[np.int64]
) -> Iterator[tuple[Floats, Floats, npt.NDArray[np.int64]]]:
    """A few thousand rows at a time, in float64: x, y beside the controls, and the fold."""
    start = 0
    for block in features.blocks():
        at = (features.episodes, block.episode, block.step)
        dealt = [np.nan_to_num(values_at(c, *at).astype(np.float64)) for c in controls]
        for first in range(0, len(block.x), _STRIP):
            some = slice(first, first + _STRIP)
            x = block.x[some].astype(np.float64)
            rows = slice(start + first, start + first + len(x))
            columns = [y[rows], *(d[some, None] for d in dealt)]
            yield x, np.concatenate(columns, axis=1), fold[rows]
        start += len(block.x)


def columns_by_gaps(values: Sequence[Floats]) -> list[list[int]]:
    """Which targets have values at the same rows, so that they can be fitted together."""
    groups: dict[bytes, list[int]] = {}
    for i, column in enumerate(values):
        groups.setdefault(np.packbits(np.isnan(column)).tobytes(), []).append(i)
    return list(groups.values())
