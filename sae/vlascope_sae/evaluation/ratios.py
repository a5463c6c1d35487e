"""A ratio of sums over episodes, with the episodes' interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vlascope.statistics import CONFIDENCE, Estimate

__all__ = ["bootstrap_ratio"]

_RESAMPLES: Final = 4000


def bootstrap_ratio(above: Sequence[float], below: Sequence[float], *, seed: int = 0) -> Estimate:
    """Sum of `above` over sum of `below`, with a percentile bootstrap over whole episodes.

    Rows of one episode are alike, so the episode is the unit however many rows it has.

    Args:
        above: one number per episode.
        below: the same, none of them negative.
        seed: of the resampling.
    """
    top, bottom = np.asarray(above, np.float64), np.asarray(below, np.float64)
    n = len(top)
    if not n or not bottom.sum() > 0:
        return Estimate(value=None, low=None, high=None, n=0, missing=n, method="no episodes")
    value = float(top.sum() / bottom.sum())
    if n == 1:
        return Estimate(value=value, low=None, high=None, n=1, method="one episode: no interval")
    chosen = np.random.default_rng(seed).integers(0, n, (_RESAMPLES, n))
    sums = bottom[chosen].sum(1)
    draws = top[chosen].sum(1)[sums > 0] / sums[sums > 0]
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(q) for q in np.quantile(draws, [tail, 1 - tail]))
    return Estimate(value=value, low=low, high=high, n=n, method=f"bootstrap over {n} episodes")
