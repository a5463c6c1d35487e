"""Bootstrap intervals of means of paired differences, with tasks as clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vlascope.statistics.estimates import CONFIDENCE, Estimate

__all__ = ["FEWEST_CLUSTERS", "bootstrap_mean"]

Floats = npt.NDArray[np.float64]

FEWEST_CLUSTERS: Final = 5
"""With fewer tasks than this, resampling tasks says little: episodes are resampled within each."""

RESAMPLES: Final = 4000


def bootstrap_mean(
    clusters: Mapping[str, Sequence[float]],
    *,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Estimate:
    """The mean over all values with a percentile bootstrap interval.

    With at least `FEWEST_CLUSTERS` clusters (tasks), clusters are resampled whole and the interval
    speaks of tasks like these. With fewer, episodes are resampled within each cluster and it
    speaks of these very tasks. (Efron & Tibshirani 1993, ch. 13; Davison & Hinkley 1997, 3.8.)

    Args:
        clusters: values, usually paired differences, by cluster.
        seed: of the resampling.
        confidence: coverage.
        resamples: how many.
    """
    kept = {k: np.asarray(v, np.float64) for k, v in clusters.items() if len(v)}
    n = sum(len(v) for v in kept.values())
    method = _method(kept)
    if n == 0:
        return Estimate(value=None, low=None, high=None, n=0, method=method)
    value = float(np.concatenate(list(kept.values())).mean())
    if n == 1:
        return Estimate(value=value, low=None, high=None, n=1, method="one value: no interval")
    draws = _draws(kept, np.random.default_rng(seed), resamples)
    low, high = _percentiles(draws, confidence)
    return Estimate(value=value, low=low, high=high, n=n, method=method)


def _method(clusters: Mapping[str, Floats]) -> str:
    if len(clusters) >= FEWEST_CLUSTERS:
        return f"bootstrap over {len(clusters)} tasks"
    within = f"within {len(clusters)} tasks" if len(clusters) > 1 else "of episodes"
    return f"bootstrap {within}"


def _draws(clusters: Mapping[str, Floats], rng: np.random.Generator, resamples: int) -> Floats:
    """Means of resampled data, (resamples,)."""
    values = list(clusters.values())
    if len(values) >= FEWEST_CLUSTERS:
        chosen = rng.integers(0, len(values), (resamples, len(values)))
        sums = np.array([v.sum() for v in values])[chosen].sum(1)
        counts = np.array([len(v) for v in values])[chosen].sum(1)
        return sums / counts
    sums = np.zeros(resamples)
    for v in values:
        sums += v[rng.integers(0, len(v), (resamples, len(v)))].sum(1)
    return sums / sum(len(v) for v in values)


def _percentiles(draws: Floats, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
