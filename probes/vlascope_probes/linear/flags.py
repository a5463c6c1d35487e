"""What to be wary of in a probe's score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vlascope.hooks import HookPoint
from vlascope_probes.linear.results import ProbeScore

__all__ = ["PERFECT", "flags_of"]

PERFECT: Final = 0.99
"""From this score on, a probe counts as perfect."""


def flags_of(scores: Sequence[ProbeScore]) -> list[ProbeScore]:
    """The same scores, those with something to be wary of flagged."""
    first = _first_points(scores)
    return [s.model_copy(update={"flags": tuple(_flags(s, first))}) for s in scores]


def _flags(score: ProbeScore, first: set[str]) -> list[str]:
    value = score.score.value or 0.0
    found = []
    if score.point in first and value >= PERFECT:
        if score.target == "success":
            found.append(
                "perfect at the first layer probed: the outcome can hardly be known there; suspect "
                "that labels leak into the rows (equal scenes, tasks that never fail)"
            )
        else:
            found.append(
                "perfect at the first layer probed: it comes in from outside this pathway or is "
                "there before that layer, and says nothing of what later ones compute"
            )
    above = value - score.chance
    if score.raw_state is not None and above > 0 and score.raw_state >= value - 0.02:
        found.append("no better than the raw state alone")
    if value <= score.control_best and above > 0.02:
        found.append(f"a control task does as well (p = {score.p:.2g}, {score.controls} controls)")
    if score.held_out_tasks is not None and score.held_out_tasks < score.chance + 0.25 * above:
        found.append("does not carry over to tasks it was not fitted on")
    return found


def _first_points(scores: Sequence[ProbeScore]) -> set[str]:
    """The shallowest probed point of every pathway."""
    by_pathway: dict[str, list[HookPoint]] = {}
    for score in scores:
        point = HookPoint.parse(score.point)
        if point.layer is not None:
            by_pathway.setdefault(point.pathway, []).append(point)
    return {str(min(points)) for points in by_pathway.values()}
