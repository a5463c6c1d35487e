"""Intervals of numbers that cannot be anything, cut to what they can be."""

from __future__ import annotations

import math

from vlascope.study.quantity import Quantity

__all__ = ["possible"]


def possible(low: float, high: float, example: Quantity) -> tuple[float, float, str]:
    """An interval cut to what the number can be, which loses no coverage; and a note where it is.

    The mean itself is within the bounds, as a weighted mean of numbers that are.
    """
    least, most = example.within
    least, most = -math.inf if least is None else least, math.inf if most is None else most
    if least <= low and high <= most:
        return low, high, ""
    return max(low, least), min(high, most), f", cut to what can be ({_told(least, most)})"


def _told(least: float, most: float) -> str:
    """`0 to 1`, `up to 1`, `from 0`."""
    if math.isinf(most):
        return f"from {least:g}"
    return f"up to {most:g}" if math.isinf(least) else f"{least:g} to {most:g}"
