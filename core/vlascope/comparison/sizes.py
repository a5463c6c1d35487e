"""How many episodes, or architectures, would tell."""

from __future__ import annotations

import math
from typing import Final

from pydantic import BaseModel, ConfigDict
from statsmodels.stats.power import NormalIndPower, TTestPower

from vlascope.statistics import CONFIDENCE

__all__ = ["Needed", "needed"]

POWER: Final = 0.8
MOST: Final = 1_000_000
_EDGE: Final = 1e-9
"""An effect nearer to a bound than this share of its own spread lies on it."""


class Needed(BaseModel):
    """The n at which an interval would lie wholly on one side, if the effect is as observed.

    Attributes:
        n: with 80% power; None where none is large enough, or where that cannot be said.
        unit: what n counts.
        never: the observed effect lies on the bound: no n would tell.
        told: in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int | None
    unit: str
    never: bool
    told: str


def needed(
    value: float,
    se: float | None,
    n: int,
    bounds: tuple[float | None, float | None],
    *,
    unit: str = "episodes",
    small: bool = False,
) -> Needed:
    """The smallest n that gives 80% power to tell on which side of the bounds the effect lies.

    Power of one-sided tests at half of 5% against each edge of the region that the observed value
    is in, which is when a 95% interval lies wholly within it (statsmodels' `NormalIndPower`, or
    `TTestPower` where n is small).

    Args:
        value: as observed.
        se: standard error at n; None where there is none.
        n: how many there are; n more are taken to be like these.
        bounds: low and high end of the claim; None where it is open.
        unit: what n counts.
        small: whether t of n - 1 degrees of freedom is meant, as of few architectures.
    """
    if se is None or n < 2:
        told = "not known: without an interval of any width nothing is known of the spread"
        return Needed(n=None, unit=unit, never=False, told=told)
    spread = se * math.sqrt(n)
    gaps = [abs(value - b) / spread for b in _edges(value, bounds)]
    if min(gaps) < _EDGE:
        told = "the observed effect lies on the bound itself: no number would tell"
        return Needed(n=None, unit=unit, never=True, told=told)
    if _power(gaps, MOST, small=False) < POWER:
        told = f"more than {MOST:,} {unit} at the observed effect"
        return Needed(n=None, unit=unit, never=False, told=told)
    found = _search(gaps, small=small)
    told = f"about {found:,} {unit} at the observed effect (there are {n})"
    return Needed(n=found, unit=unit, never=False, told=told)


def _edges(value: float, bounds: tuple[float | None, float | None]) -> list[float]:
    """The edges of the region that the value lies in; one where the region is open."""
    low, high = bounds
    if low is None or high is None:
        return [b for b in (low, high) if b is not None]
    if low <= value <= high:
        return [low, high]
    return [low] if value < low else [high]


def _power(gaps: list[float], n: int, *, small: bool) -> float:
    """That every edge is left out; at least, whatever the dependence (Bonferroni)."""
    level = (1 - CONFIDENCE) / 2
    missed = 0.0
    for gap in gaps:
        if gap * math.sqrt(n) > 30:
            continue
        if small and n <= 200:
            power = TTestPower().power(gap, n, level, alternative="larger")
        else:
            power = NormalIndPower(ddof=0).power(gap, n, level, ratio=0, alternative="larger")
        missed += 1 - float(power)
    return 1 - missed


def _search(gaps: list[float], *, small: bool) -> int:
    low, high = 1, 2
    while _power(gaps, high, small=small) < POWER:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(gaps, middle, small=small) >= POWER else (middle, high)
    return high
