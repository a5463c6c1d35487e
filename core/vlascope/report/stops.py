"""Which arms ended early, and what was clear by then."""

from __future__ import annotations

from collections.abc import Mapping

from vlascope.sections import Cell, Section, Table
from vlascope.study.run_directory import ArmOutcome
from vlascope.study.schema import Study

__all__ = ["early_stops"]


def early_stops(
    study: Study, outcomes: Mapping[str, Mapping[str, ArmOutcome]]
) -> tuple[Section, ...]:
    """A section per policy of a study whose arms may stop early."""
    return tuple(
        _section(policy, outcomes.get(policy, {})) for policy in study.policies if study.stop
    )


def _section(policy: str, arms: Mapping[str, ArmOutcome]) -> Section:
    stopped = {arm: o.stopped for arm, o in arms.items() if o.stopped is not None}
    saved = sum(s.planned - s.episodes for s in stopped.values())
    rows = tuple(
        (f"`{arm}`", f"{s.episodes} of {s.planned}", Cell(estimate=s.interval), s.answer)
        for arm, s in stopped.items()
    )
    columns = ("arm", "episodes", "interval, n = seeds", "what was clear")
    caption = (
        "Success of these arms, and differences from them, have anytime-valid intervals by "
        "betting, which hold at whatever moment one stops; so have those of arms that might have "
        "stopped and did not. Other measures of these arms have the intervals of a fixed number "
        "of episodes."
    )
    table = Table(title="Stopped early", caption=caption, columns=columns, rows=rows)
    said = f"{len(stopped)} arms stopped early, which saved {saved} episodes."
    return Section(
        name="stopping",
        title="Arms that stopped early",
        policy=policy,
        sentences=(said if stopped else "No arm stopped early.",),
        blocks=(table,) if stopped else (),
    )
