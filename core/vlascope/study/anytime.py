"""Rates and differences of arms that may stop early, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vlascope.statistics.estimates import Comparison, Estimate
from vlascope.statistics.sequential import betting_interval, betting_p
from vlascope.study.groups import Cell
from vlascope.study.stopping import rounds_of

__all__ = ["anytime_comparison", "anytime_rate"]

_TEST: Final = "betting test (anytime-valid)"
_DETECTABLE: Final = "half the width of the anytime-valid interval"


def anytime_rate(values: Mapping[Cell, float | None]) -> Estimate:
    """The share of true outcomes, with an interval that held at every look."""
    return _counted(values, 0.0)


def anytime_comparison(
    pairs: Mapping[Cell, tuple[float | None, float | None]],
) -> Comparison:
    """Arm minus control by seed, with an interval and a p that held at every look."""
    differences = {
        cell: None if arm is None or control is None else arm - control
        for cell, (arm, control) in pairs.items()
    }
    found, (rounds, _) = _counted(differences, -1.0), rounds_of(differences)
    width = None if found.low is None or found.high is None else found.high - found.low
    return Comparison(
        difference=found,
        p=betting_p(rounds, 0.0, low=-1.0) if rounds else None,
        test=_TEST,
        detectable=None if width is None else round(width / 2, 3),
        detectable_method=_DETECTABLE,
    )


def _counted(values: Mapping[Cell, float | None], low: float) -> Estimate:
    """The interval over seeds, its n counted in episodes."""
    rounds, episodes = rounds_of(values)
    found = betting_interval(rounds, low=low)
    return found.model_copy(update={"n": episodes, "missing": len(values) - episodes})
