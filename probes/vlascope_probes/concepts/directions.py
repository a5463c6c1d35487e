"""Raw directions: the difference of means of a concept, judged in episodes it was not found in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from vlascope.directions import Direction
from vlascope_probes.concepts.contrast import LARGEST
from vlascope_probes.concepts.nulls import Permuter, p_values
from vlascope_probes.concepts.sample import Sample

__all__ = ["Separation", "concept_direction", "separate"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]

_FOLDS = 5
_DRAWS = 500
_CELLS = 2_000_000
"""Resampled rows at once."""


@dataclass(frozen=True)
class Separation:
    """How well a concept's direction separates moments; see `DirectionScore`."""

    auc: float
    low: float | None
    high: float | None
    d: float
    p: float
    task_held_out: float | None
    within_task: float | None


def concept_direction(sample: Sample, truth: Truth, name: str, at: str, about: str) -> Direction:
    """mu_in - mu_out over all moments, with the deviation of the activations along it."""
    x = sample.values.astype(np.float64)
    vector = x[truth].mean(0) - x[~truth].mean(0)
    unit = vector / max(float(np.linalg.norm(vector)), 1e-30)
    found_by = {
        "engine": "concepts",
        "method": "difference of means",
        "concept": name,
        "moments_in": int(truth.sum()),
        "moments": len(truth),
        "gap": float(np.linalg.norm(vector)),
    }
    return Direction(name, at, vector.astype(np.float32), float((x @ unit).std()), about, found_by)


def separate(
    sample: Sample,
    truth: Truth,
    permuter: Permuter,
    *,
    permutations: int,
    tests: int,
    fdr: float,
    seed: int,
) -> Separation:
    """Cross-validate the difference of means over episodes, then over tasks.

    Args:
        sample: activations at one place.
        truth: (n,).
        permuter: of the same moments.
        permutations: draws of the null.
        tests: how many places the correction counts.
        fdr: the false discovery rate aimed at.
        seed: of folds, draws and resamples.
    """
    x = sample.values.astype(np.float32)
    folds = _folds(permuter.episode, permuter.strata, truth, seed)
    along = _held_out(x, truth, folds)

    def spread(drawn: Truth, _: Ints) -> Floats:
        return _cross_validated(x, drawn, folds)[:, None]

    observed = _cross_validated(x, truth[None], folds)
    p = p_values(
        spread,
        observed,
        permuter,
        permutations=permutations,
        tests=tests,
        level=fdr,
        seed=seed,
    )
    low, high = _auc_interval(along, truth, permuter.episode, seed)
    return Separation(
        auc=_auc(along, truth),
        low=low,
        high=high,
        d=_d(along, truth),
        p=float(p[0]),
        task_held_out=_in_other_tasks(sample, x, truth),
        within_task=_within_tasks(along, truth, sample.task),
    )


def _folds(episode: Ints, strata: Ints, truth: Truth, seed: int) -> Ints:
    """(n,), the fold of each row: whole episodes, dealt so that folds are alike in truth."""
    n = int(episode.max()) + 1
    share = np.bincount(episode, truth, n) / np.bincount(episode, minlength=n)
    tie = np.random.default_rng(seed).random(n)
    order = np.lexsort((tie, strata, share))
    fold = np.empty(n, np.int64)
    fold[order] = np.arange(n) % min(_FOLDS, n)
    return fold[episode]


def _splits(folds: Ints) -> Iterator[tuple[Truth, Truth]]:
    for fold in np.unique(folds):
        test = folds == fold
        yield ~test, test


def _held_out(x: npt.NDArray[np.float32], truth: Truth, folds: Ints) -> Floats:
    """Every row along the direction found without its fold, 0 midway, in units of the gap."""
    along = np.full(len(x), np.nan)
    for train, test in _splits(folds):
        inside, outside = x[train & truth], x[train & ~truth]
        if len(inside) and len(outside):
            mean_in, mean_out = inside.mean(0, dtype=np.float64), outside.mean(0, dtype=np.float64)
            w = mean_in - mean_out
            gap = float(w @ w)
            if gap > 0:
                along[test] = (x[test] @ w - (mean_in + mean_out) @ w / 2) / gap
            else:
                along[test] = 0.0
    return along


def _cross_validated(x: npt.NDArray[np.float32], drawn: Truth, folds: Ints) -> Floats:
    """Per labelling, (draws,): how far apart held-out moments are along the direction found.

    The gap between held-out means over the deviation of the held-out projections, averaged over
    folds. A fold with one side missing counts 0.
    """
    total, count = np.zeros(len(drawn)), 0
    for train, test in _splits(folds):
        w = _gap(drawn[:, train].astype(np.float32), x[train])
        along = (w @ x[test].T).astype(np.float64)
        inside = drawn[:, test]
        n_in, n_out = inside.sum(1), (~inside).sum(1)
        mean_in = (along * inside).sum(1) / np.maximum(n_in, 1)
        mean_out = (along * ~inside).sum(1) / np.maximum(n_out, 1)
        gap, scale = mean_in - mean_out, np.maximum(along.std(1), 1e-12)
        tiny = np.abs(gap) <= 1e-6 * np.abs(along).max(1)
        total += np.where((np.minimum(n_in, n_out) > 0) & ~tiny, gap / scale, 0.0)
        count += 1
    return total / max(count, 1)


def _gap(inside: npt.NDArray[np.float32], x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Differences of means, (draws, width)."""
    n_in = inside.sum(1, keepdims=True)
    n_out = inside.shape[1] - n_in
    sums = inside @ x
    gap = sums / np.maximum(n_in, 1) - (x.sum(0) - sums) / np.maximum(n_out, 1)
    return np.where(np.minimum(n_in, n_out) > 0, gap, 0).astype(np.float32)


def _auc(along: Floats, truth: Truth) -> float:
    """The chance that a moment in lies further along than one out; ties count half."""
    known = ~np.isnan(along)
    inside = truth[known]
    n_in, n_out = int(inside.sum()), int((~inside).sum())
    if not n_in or not n_out:
        return float("nan")
    ranks = rankdata(np.round(along[known], 6))
    return float((ranks[inside].sum() - n_in * (n_in + 1) / 2) / (n_in * n_out))


def _d(along: Floats, truth: Truth) -> float:
    known = ~np.isnan(along)
    a, b = along[known & truth], along[known & ~truth]
    if min(len(a), len(b)) < 2:
        return 0.0
    spread = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    gap = a.mean() - b.mean()
    return float(np.clip(gap / max(spread, abs(gap) / LARGEST, 1e-12), -LARGEST, LARGEST))


def _auc_interval(
    along: Floats, truth: Truth, episode: Ints, seed: int
) -> tuple[float | None, float | None]:
    """95% of the AUCs of resampled episodes; ties between rows are counted as they are."""
    kept = np.flatnonzero(~np.isnan(along))
    kept = kept[np.argsort(along[kept], kind="stable")]
    _, first = np.unique(np.round(along[kept], 6), return_index=True)
    n = int(episode.max()) + 1
    rng = np.random.default_rng(seed)
    found: Floats = np.empty(0)
    while len(found) < _DRAWS:
        draws = min(_DRAWS - len(found), max(1, _CELLS // max(len(kept), 1)))
        weights = rng.multinomial(n, np.full(n, 1 / n), size=draws)[:, episode[kept]]
        inside = np.add.reduceat(weights * truth[kept], first, axis=1)
        outside = np.add.reduceat(weights * ~truth[kept], first, axis=1)
        below = np.cumsum(outside, axis=1) - outside / 2
        pairs = (inside.sum(1) * outside.sum(1)).astype(np.float64)
        wins = (inside * below).sum(1)
        found = np.append(found, np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan))
    known = found[~np.isnan(found)]
    if len(known) < _DRAWS / 2:
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _in_other_tasks(sample: Sample, x: npt.NDArray[np.float32], truth: Truth) -> float | None:
    """The AUC in tasks the direction was not found in, averaged over groups of tasks.

    Each group has moments on both sides, within and without; None where that cannot be had.
    """
    task = sample.task
    tasks = np.unique(task)
    share = np.array([truth[task == t].mean() for t in tasks])
    some, not_all = tasks[share > 0], tasks[share < 1]
    groups = min(len(some), len(not_all), _FOLDS)
    if groups < 2:
        return None
    order = tasks[np.argsort(-share, kind="stable")]
    dealt = {int(t): i % groups for i, t in enumerate(order)}
    along = _held_out(x, truth, np.array([dealt[int(t)] for t in task]))
    found = []
    for group in range(groups):
        inside = np.array([dealt[int(t)] == group for t in task])
        auc = _auc(along[inside], truth[inside])
        if not np.isnan(auc):
            found.append(auc)
    return float(np.mean(found)) if found else None


def _within_tasks(along: Floats, truth: Truth, task: Ints) -> float | None:
    """The AUC among moments of the same task, weighted by the pairs each task has."""
    total, weight = 0.0, 0.0
    for t in np.unique(task):
        inside = task == t
        pairs = float(truth[inside].sum() * (~truth[inside]).sum())
        if pairs and not np.isnan(auc := _auc(along[inside], truth[inside])):
            total, weight = total + pairs * auc, weight + pairs
    return total / weight if weight else None
