"""Intervals that hold at every moment at once, so that one may stop when the answer is clear.

The hedged capital of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", Journal of the Royal Statistical Society B 86 (2024). Values x_t in [0, 1] come one after
another, each with mean mu given those before. For a candidate mean m two gamblers start with 1/2
each and bet on the values lying above and below m:

    K+_t(m) = prod_i (1 + l+_i (x_i - m)),   K-_t(m) = prod_i (1 - l-_i (x_i - m)),
    K_t(m) = max(K+_t(m), K-_t(m)) / 2,

with predictable plug-in bets l_t = sqrt(2 log(2 / a) / (s^2_{t-1} t log(t + 1))), cut off at
c / m above and c / (1 - m) below, s^2 the running variance. At the true mean both are
non-negative martingales from 1, so by Ville's inequality K ever reaches 1 / a with probability at
most a: the m that were never rejected cover mu at all times together with probability 1 - a.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vlascope.statistics.estimates import CONFIDENCE, Estimate

__all__ = ["ANYTIME", "betting_interval", "betting_p", "running_intervals"]

ANYTIME: Final = "anytime-valid interval by betting (Waudby-Smith & Ramdas 2024)"

Floats = npt.NDArray[np.float64]

_CANDIDATES: Final = 1001
_CUT: Final = 0.75
"""Share of the capital that is bet at most."""


def betting_interval(
    values: Sequence[float],
    *,
    low: float = 0.0,
    high: float = 1.0,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """The mean of values that came one after another, with an interval that held all along.

    Args:
        values: in the order they came, each between `low` and `high`.
        low: bound below which no value can lie.
        high: bound above which none can.
        confidence: chance that the true mean never lies outside, at any length.
    """
    if not len(values):
        return Estimate(value=None, low=None, high=None, n=0, method=ANYTIME)
    ends = running_intervals(values, low=low, high=high, confidence=confidence)
    return Estimate(
        value=float(np.mean(values)),
        low=float(ends[-1, 0]),
        high=float(ends[-1, 1]),
        n=len(values),
        method=ANYTIME,
    )


def running_intervals(
    values: Sequence[float],
    *,
    low: float = 0.0,
    high: float = 1.0,
    confidence: float = CONFIDENCE,
) -> Floats:
    """The interval after each value, (values, 2); none is wider than the one before.

    Candidates lie on a grid of 1,001 means; each end is moved one step outwards.
    """
    unit, alpha = _to_unit(values, low, high), 1 - confidence
    candidates: Floats = np.linspace(0.0, 1.0, _CANDIDATES, dtype=np.float64)
    kept = np.ones(_CANDIDATES, bool)
    ends = np.empty((len(unit), 2))
    for t, capital in enumerate(_log_capital(unit, candidates, alpha)):
        remaining = kept & (capital < np.log(1 / alpha))
        if remaining.any():
            kept = remaining
        at = np.flatnonzero(kept)
        ends[t] = candidates[max(at[0] - 1, 0)], candidates[min(at[-1] + 1, _CANDIDATES - 1)]
    return low + (high - low) * ends


def betting_p(
    values: Sequence[float],
    mean: float,
    *,
    low: float = 0.0,
    high: float = 1.0,
    confidence: float = CONFIDENCE,
) -> float:
    """A p that may be looked at after every value: 1 / the most that betting against `mean` won.

    Args:
        values: in the order they came.
        mean: what is tested, between `low` and `high`.
        low: bound below which no value can lie.
        high: bound above which none can.
        confidence: the bets are tuned to it; the p holds at every level.
    """
    at = np.array([(mean - low) / (high - low)])
    capital = [float(c[0]) for c in _log_capital(_to_unit(values, low, high), at, 1 - confidence)]
    return float(min(1.0, np.exp(-max(capital, default=0.0))))


def _to_unit(values: Sequence[float], low: float, high: float) -> Floats:
    given = np.asarray(values, np.float64)
    if high <= low or not np.isfinite(given).all() or (given < low).any() or (given > high).any():
        raise ValueError(f"values must lie within [{low:g}, {high:g}]; got {values!r}")
    return (given - low) / (high - low)


def _log_capital(values: Floats, candidates: Floats, alpha: float) -> list[Floats]:
    """The logarithm of K_t(m) after each value, one (candidates,) array each."""
    with np.errstate(divide="ignore"):
        most_above, most_below = _CUT / candidates, _CUT / (1 - candidates)
    above, below = np.zeros(len(candidates)), np.zeros(len(candidates))
    total, spread, variance, found = 0.5, 0.25, 0.25, []
    for t, value in enumerate(values, 1):
        bet = np.sqrt(2 * np.log(2 / alpha) / (variance * t * np.log(t + 1)))
        above = above + np.log1p(np.minimum(bet, most_above) * (value - candidates))
        below = below + np.log1p(-np.minimum(bet, most_below) * (value - candidates))
        found.append(np.maximum(above, below) - np.log(2))
        total += value
        spread += (value - total / (t + 1)) ** 2
        variance = spread / (t + 1)
    return found
