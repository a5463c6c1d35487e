"""Axes that show every interval, in the units that people say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vlascope.report.wording import interval
from vlascope.statistics import Estimate

__all__ = ["ASIDE", "dodged", "of_unit", "printed", "rounded", "span", "whiskers", "widened"]


class _Measured(Protocol):
    @property
    def unit(self) -> str: ...
    @property
    def signed(self) -> bool: ...


def of_unit(value: float | None, unit: str) -> float:
    """As drawn: metres as centimetres, nothing as NaN."""
    if value is None:
        return float("nan")
    return 100 * value if unit == "m" else value


def rounded(value: float) -> float:
    """Five digits, more than a screen shows: a page holds thousands of numbers."""
    return float(f"{value:.5g}")


def printed(found: Estimate, measured: _Measured) -> str:
    """`+0.12 [0.04, 0.20], n = 60`."""
    return interval(found, measured.unit, signed=measured.signed)


def whiskers(values: Sequence[Estimate], unit: str) -> tuple[list[float], list[float]]:
    """Lengths of the intervals below and above each value; nothing where there is none."""
    below, above = [], []
    for found in values:
        value = of_unit(found.value, unit)
        low, high = (
            value if end is None else of_unit(end, unit) for end in (found.low, found.high)
        )
        below.append(max(value - low, 0.0))
        above.append(max(high - value, 0.0))
    return below, above


def span(values: Sequence[Estimate], unit: str, *, signed: bool, bare: bool = False) -> list[float]:
    """From the lowest to the highest end of all intervals, zero included and some room.

    Args:
        values: what the axis is to show.
        unit: theirs.
        signed: whether they are differences; a colour scale is then even about zero.
        bare: the values alone, for a colour scale.
    """
    ends = [0.0]
    for found in values:
        ends += [
            of_unit(end, unit)
            for end in ((found.value,) if bare else (found.value, found.low, found.high))
            if end is not None
        ]
    low, high = min(ends), max(ends)
    if bare and signed:
        most = max(-low, high) or 1.0
        return [-most, most]
    room = 0.0 if bare else 0.06 * ((high - low) or 1.0)
    return [low - room, (high + room) or 1.0]


ASIDE = 2.5
"""How much further points of a scatter are moved aside than those of a profile."""


def widened(reach: list[float]) -> list[float]:
    """An axis with room for what was moved aside at its upper end."""
    return [reach[0], reach[1] + 0.04 * ASIDE * (reach[1] - reach[0])]


def dodged(at: Sequence[float], entry: str, entries: Sequence[str], of: float = 1.0) -> list[float]:
    """Places moved a little aside by entry, so that intervals do not hide one another.

    Args:
        at: where they are.
        entry: whose.
        entries: all that are drawn, in order.
        of: the length of the axis.
    """
    aside = entries.index(entry) - (len(entries) - 1) / 2
    step = min(0.01, 0.08 / max(1, len(entries) - 1))
    return [place + step * of * aside for place in at]
