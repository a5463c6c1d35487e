"""The difference between two effects that were measured on different episodes."""

from __future__ import annotations

import math

from vlascope.statistics.estimates import Estimate

__all__ = ["contrast"]


def contrast(first: Estimate, second: Estimate) -> Estimate:
    """`first` minus `second`, two independent estimates that each have an interval.

    The interval is recovered from theirs (MOVER; Zou, "On the estimation of additive interaction",
    American Journal of Epidemiology 168, 2008):
    low = d - sqrt((d1 - l1)^2 + (u2 - d2)^2), high = d + sqrt((u1 - d1)^2 + (d2 - l2)^2).
    """
    n, missing = first.n + second.n, first.missing + second.missing
    method = f"MOVER of: {first.method}; {second.method}"
    if first.value is None or second.value is None:
        return Estimate(value=None, low=None, high=None, n=n, missing=missing, method=method)
    value = first.value - second.value
    ends = (first.low, first.high, second.low, second.high)
    if any(end is None for end in ends):
        return Estimate(value=value, low=None, high=None, n=n, missing=missing, method=method)
    low1, high1, low2, high2 = (end for end in ends if end is not None)
    return Estimate(
        value=value,
        low=value - math.hypot(first.value - low1, high2 - second.value),
        high=value + math.hypot(high1 - first.value, second.value - low2),
        n=n,
        missing=missing,
        method=method,
    )
