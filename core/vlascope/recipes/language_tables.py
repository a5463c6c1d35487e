"""Tables and the figure of the chapter on language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vlascope.counterfactuals.structure import SHARED, UNIQUE
from vlascope.report.wording import p_value
from vlascope.sections import Cell, Figure, Table
from vlascope.statistics import Estimate
from vlascope.study.measuring import Measuring
from vlascope.study.metrics import METRICS

if TYPE_CHECKING:
    from vlascope.recipes.language_section import Judged

__all__ = ["effect_figure", "effect_table", "receipt_table"]

COLOURS = {SHARED: "#d9622b", UNIQUE: "#2f6fde"}


def effect_table(
    judged: Sequence[Judged],
    structure: Mapping[str, Sequence[str]],
    rates: Mapping[tuple[str, str], Estimate],
    metric: str,
) -> Table:
    """A row per variant: its value and its effect in either structure, and the interaction."""
    what = METRICS[metric]
    columns = ["arm"]
    for s in structure:
        columns += [f"{what.label}, {s}", f"against own prompt, {s}", f"p, {s}"]
    columns += ["interaction (shared minus unique)", "p"]
    return Table(
        title="Variants by task structure",
        caption=(
            f"{what.meaning} Differences are paired by task and seed; p-values are adjusted (Holm) "
            "over the table."
        ),
        columns=tuple(columns),
        rows=tuple(_row(j, structure, rates, what.unit) for j in judged),
    )


def _row(
    judged: Judged,
    structure: Mapping[str, Sequence[str]],
    rates: Mapping[tuple[str, str], Estimate],
    unit: str,
) -> tuple[str | Cell | None, ...]:
    found = judged.found
    cells: list[str | Cell | None] = [f"`{found.variant}`"]
    for s in structure:
        effect = found.effects.get(s)
        if effect is None:
            cells += [None, None, None]
            continue
        cells += [
            Cell(estimate=rates[found.variant, s], unit=unit),
            Cell(estimate=effect.difference, unit=unit, signed=True),
            p_value(judged.effect_p[s]),
        ]
    if found.interaction is None:
        return (*cells, None, None)
    difference = Cell(estimate=found.interaction.difference, unit=unit, signed=True)
    return (*cells, difference, p_value(judged.interaction_p))


def effect_figure(judged: Sequence[Judged], metric: str) -> Figure:
    """Effects with their intervals, a row per variant, a colour per structure."""
    traces = [_trace(judged, structure) for structure in (SHARED, UNIQUE)]
    layout = {
        "height": 120 + 34 * len(judged),
        "margin": {"l": 10, "r": 20, "t": 30, "b": 50},
        "xaxis": {
            "title": {"text": f"{METRICS[metric].label}, variant minus own prompt"},
            "zeroline": True,
        },
        "yaxis": {"automargin": True, "autorange": "reversed", "ticksuffix": "  "},
        "scattermode": "group",
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    }
    return Figure(
        title="What a changed instruction does",
        caption="Points are paired differences, bars their 95% intervals.",
        plotly={"data": [t for t in traces if t["x"]], "layout": layout},
    )


def _trace(judged: Sequence[Judged], structure: str) -> dict[str, Any]:
    mine = [(j.found.variant, j.found.effects.get(structure)) for j in judged]
    known = [
        (variant, e.difference)
        for variant, e in mine
        if e is not None and e.difference.value is not None
    ]
    ends = [(d.value or 0.0, d.low, d.high) for _, d in known]
    return {
        "type": "scatter",
        "mode": "markers",
        "orientation": "h",
        "name": f"{structure} scenes",
        "x": [value for value, _, _ in ends],
        "y": [variant for variant, _ in known],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [None if high is None else high - value for value, _, high in ends],
            "arrayminus": [None if low is None else value - low for value, low, _ in ends],
        },
        "marker": {"size": 9, "color": COLOURS[structure]},
    }


def receipt_table(measuring: Measuring, policy: str, arms: Sequence[str], tasks: int) -> Table:
    """Whether each changed instruction reached the policy, and what it said."""
    return Table(
        title="Did the changed instruction arrive?",
        caption=(
            "Inferences whose observation carried the changed text; and the smallest relative "
            "change, over the arm's tasks, of the first layer's activations between the own and "
            "the changed text with all else equal. An arm below 0.00001 would have been refused."
        ),
        columns=("arm", "tasks", "episodes", "carried", "least change of activations", "example"),
        rows=tuple(_receipts(measuring, policy, arm, tasks) for arm in arms),
        folded=True,
    )


def _receipts(
    measuring: Measuring, policy: str, arm: str, tasks: int
) -> tuple[str | int | float | None, ...]:
    records = [e.record for e in measuring.episodes.of(policy, arm) if e.ok]
    kept = [r.prompt for r in records if r.prompt is not None]
    reached = [p.reached for p in kept if p.reached is not None]
    first = records[0]
    return (
        f"`{arm}`",
        f"{len({r.plan.task for r in records})} of {tasks}",
        len(records),
        f"{sum(p.carried for p in kept)} of {sum(p.inferences for p in kept)}",
        min(reached, default=None),
        f"{first.plan.task}: \u201c{first.instruction}\u201d",
    )
