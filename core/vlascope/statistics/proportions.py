"""Intervals for success rates, alone and paired."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from vlascope.statistics.estimates import CONFIDENCE, Estimate

__all__ = ["paired_score_interval", "rate"]

WILSON = "Wilson score interval"


def rate(outcomes: Sequence[bool | float | None], *, confidence: float = CONFIDENCE) -> Estimate:
    """The share of true outcomes with its Wilson score interval; None counts as missing."""
    known = [bool(o) for o in outcomes if o is not None]
    missing = len(outcomes) - len(known)
    if not known:
        return Estimate(value=None, low=None, high=None, n=0, missing=missing, method=WILSON)
    count = sum(known)
    low, high = proportion_confint(count, len(known), alpha=1 - confidence, method="wilson")
    return Estimate(
        value=count / len(known),
        low=max(0.0, float(low)),
        high=min(1.0, float(high)),
        n=len(known),
        missing=missing,
        method=WILSON,
    )


def paired_score_interval(
    gained: int, lost: int, n: int, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The score interval of a difference between two paired proportions.

    Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17 (1998): the differences d at which the score
    test does not reject. Neither SciPy nor statsmodels has it. Unlike a bootstrap it has a width
    where every pair agrees.

    Args:
        gained: pairs in which only the first succeeded.
        lost: pairs in which only the second succeeded.
        n: pairs in all, at least 1.
        confidence: coverage.
    """
    if n < 1 or gained + lost > n:
        raise ValueError(f"{gained} + {lost} discordant pairs of {n}")
    z = float(norm.ppf(0.5 + confidence / 2))
    centre = (gained - lost) / n

    def excess(d: float) -> float:
        return _score(gained, lost, n, d) - z

    def deficit(d: float) -> float:
        return _score(gained, lost, n, d) + z

    edge = 1 - 1e-9
    low = brentq(excess, -edge, centre) if excess(-edge) > 0 and centre > -edge else -1.0
    high = brentq(deficit, centre, edge) if deficit(edge) < 0 and centre < edge else 1.0
    return float(low), float(high)


def _score(gained: int, lost: int, n: int, d: float) -> float:
    """Tango's statistic: (b - c - n d) / sqrt(n (2 q + d (1 - d))), q the constrained estimate."""
    b = -gained - lost + (2 * n - gained + lost) * d
    c = -lost * d * (1 - d)
    q = (np.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * q + d * (1 - d))
    numerator = gained - lost - n * d
    if variance <= 1e-15:
        return 0.0 if abs(numerator) < 1e-9 else float(np.sign(numerator) * np.inf)
    return float(numerator / np.sqrt(variance))
