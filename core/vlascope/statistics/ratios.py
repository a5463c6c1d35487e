"""The ratio of two means that were measured on the same episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vlascope.statistics.estimates import CONFIDENCE, Estimate
from vlascope.statistics.paired import Pair
from vlascope.statistics.resampling import FEWEST_CLUSTERS

__all__ = ["log_ratio"]

Floats = npt.NDArray[np.float64]
_RESAMPLES: Final = 4000


def log_ratio(pairs: Sequence[Pair], *, seed: int = 0, confidence: float = CONFIDENCE) -> Estimate:
    """ln(mean arm / mean control) over pairs that have both, with a percentile bootstrap interval.

    Pairs stay together. With `FEWEST_CLUSTERS` tasks or more, tasks are resampled whole; with
    fewer, episodes within each. Without a value where a mean is not positive; without an interval
    where a resampled one is not.

    Args:
        pairs: values that are never negative, as distances are.
        seed: of the resampling.
        confidence: coverage.
    """
    by_task: dict[str, list[tuple[float, float]]] = {}
    for p in pairs:
        if p.arm is not None and p.control is not None:
            by_task.setdefault(p.task, []).append((p.arm, p.control))
    tasks = [np.array(v, np.float64) for v in by_task.values()]
    n = sum(len(v) for v in tasks)
    missing = len(pairs) - n
    whole = len(tasks) >= FEWEST_CLUSTERS
    method = f"bootstrap of a ratio {'over' if whole else 'within'} {len(tasks)} tasks"
    sums = np.sum([v.sum(0) for v in tasks], axis=0) if tasks else np.zeros(2)
    if not (sums > 0).all():
        return Estimate(value=None, low=None, high=None, n=n, missing=missing, method=method)
    value = math.log(sums[0] / sums[1])
    rng = np.random.default_rng(seed)
    draws = _over_tasks(tasks, rng) if whole else _within_tasks(tasks, rng)
    if n < 2 or not (draws > 0).all():
        return Estimate(value=value, low=None, high=None, n=n, missing=missing, method=method)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.log(draws[:, 0] / draws[:, 1]), [tail, 1 - tail])
    return Estimate(
        value=value, low=float(low), high=float(high), n=n, missing=missing, method=method
    )


def _over_tasks(tasks: Sequence[Floats], rng: np.random.Generator) -> Floats:
    """Sums of both, (resamples, 2)."""
    totals = np.array([v.sum(0) for v in tasks])
    return np.asarray(totals[rng.integers(0, len(tasks), (_RESAMPLES, len(tasks)))].sum(1))


def _within_tasks(tasks: Sequence[Floats], rng: np.random.Generator) -> Floats:
    found = np.zeros((_RESAMPLES, 2))
    for v in tasks:
        found += v[rng.integers(0, len(v), (_RESAMPLES, len(v)))].sum(1)
    return found
