"""Probe maps as report blocks: a heat map per pathway, a table, and what to be wary of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlascope.hooks import HookPoint
from vlascope.sections import Block, Cell, Figure, Prose, Table
from vlascope_probes.linear.removal import Removal
from vlascope_probes.linear.results import ProbeMap, ProbeScore

__all__ = ["best_sentences", "heat_map", "map_blocks", "removal_table", "score_table"]


def map_blocks(found: ProbeMap) -> tuple[Block, ...]:
    """Everything a report shows of a map."""
    blocks: list[Block] = [heat_map(found, pathway) for pathway in _pathways(found)]
    blocks.append(score_table(found.scores))
    if wary := _wary(found):
        blocks.append(Prose(text=wary))
    if found.skipped:
        skipped = "; ".join(f"`{name}` {why}" for name, why in found.skipped.items())
        blocks.append(Prose(text=f"Not probed: {skipped}."))
    return tuple(blocks)


def heat_map(found: ProbeMap, pathway: str) -> Figure:
    """Layer × target of one pathway: skill, 0 for guessing and 1 for perfect."""
    points = [p for p in found.points if HookPoint.parse(p).pathway == pathway]
    cells = [[found.at(point, target) for point in points] for target in found.targets]
    skill = [[None if s is None else round(_skill(s), 4) for s in row] for row in cells]
    text = [["" if s is None else _hover(s) for s in row] for row in cells]
    heat: dict[str, Any] = {
        "type": "heatmap",
        "x": [p.removeprefix(f"{pathway}.") for p in points],
        "y": found.targets,
        "z": skill,
        "text": text,
        "hovertemplate": "%{y} at %{x}<br>%{text}<extra></extra>",
        "zmin": 0,
        "zmax": 1,
        "colorscale": "Viridis",
        "colorbar": {"title": {"text": "skill"}},
    }
    layout = {
        "height": 140 + 22 * len(found.targets),
        "margin": {"l": 190, "t": 10},
        "yaxis": {"autorange": "reversed"},
    }
    return Figure(
        title=f"What can be read off {pathway}",
        caption="Skill of a linear probe on episodes it was not fitted on: R² for numbers, "
        "(balanced accuracy − chance)/(1 − chance) for labels; negative values are shown as 0. "
        f"{found.episodes} episodes.",
        plotly={"data": [heat], "layout": layout},
    )


_OBJECT, _WELL = "object.", 0.8


def score_table(scores: Sequence[ProbeScore]) -> Table:
    """One row per target and point, beside control, raw state and held-out tasks."""
    rows = tuple(
        (
            s.target,
            f"`{s.point}`",
            s.metric,
            Cell(estimate=s.score, unit="1"),
            s.control,
            s.selectivity,
            s.p,
            s.raw_state,
            s.held_out_tasks,
            "; ".join(s.flags),
        )
        for s in sorted(scores, key=lambda s: s.target)
    )
    return Table(
        title="Probes",
        caption="n counts episodes; intervals resample episodes. Control: the mean over control "
        "tasks, whose labels are dealt out anew; selectivity: score − control; p: (1 + controls as "
        "good) / (1 + controls), not corrected for the number of cells. Raw state: the same probe "
        "on what the policy is told of the robot. Held-out tasks: fitted on other tasks.",
        columns=(
            "target",
            "hook point",
            "metric",
            "score",
            "control",
            "selectivity",
            "p",
            "raw state",
            "held-out tasks",
            "flags",
        ),
        rows=rows,
        folded=len(rows) > 24,
    )


def removal_table(removals: Sequence[Removal]) -> Table:
    """The projection test."""
    return Table(
        title="Taken out",
        caption="Held-out R² (labels as indicator columns) before and after the probe's subspace "
        "is projected out of the recorded activations, and after a random one of as many "
        "dimensions; variance: the share of the activations' variance that each holds.",
        columns=(
            "target",
            "hook point",
            "dimensions",
            "before",
            "after",
            "random",
            "variance",
            "random's variance",
        ),
        rows=tuple(
            (
                r.target,
                f"`{r.point}`",
                r.dimensions,
                r.before,
                r.after,
                r.random,
                r.variance,
                r.random_variance,
            )
            for r in removals
        ),
        folded=len(removals) > 24,
    )


def best_sentences(found: ProbeMap) -> tuple[str, ...]:
    """For every target where it is read most selectively, with n, interval and control.

    Coordinates of objects, of which a scene has dozens, are counted instead.
    """
    best = {
        target: max((s for s in found.scores if s.target == target), key=lambda s: s.selectivity)
        for target in found.targets
    }
    objects = [s for target, s in best.items() if target.startswith(_OBJECT)]
    said = []
    for target, s in best.items():
        if s in objects:
            continue
        low, high = s.score.low, s.score.high
        interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
        raw = "" if s.raw_state is None else f", raw state {s.raw_state:.2f}"
        sentence = (
            f"`{target}` is read best at `{s.point}`: {s.metric} {s.score.value:.2f}{interval}, "
            f"n = {s.score.n} episodes, control {s.control:.2f}{raw} (the best of "
            f"{len(found.points)} points, so this is optimistic)."
        )
        said.append(sentence.replace(" -", " \u2212").replace("[-", "[\u2212"))
    if objects:
        well = sum((s.score.value or 0.0) >= _WELL for s in objects)
        fewest, most = min(s.score.n for s in objects), max(s.score.n for s in objects)
        said.append(
            f"Of {len(objects)} coordinates of objects, {well} are read with R² of {_WELL} or more "
            f"somewhere (n = {fewest} to {most} episodes, each the best of {len(found.points)} "
            "points); the table says which."
        )
    return tuple(said)


def _wary(found: ProbeMap) -> str:
    """Every flag's targets, each flag once."""
    by_flag: dict[str, dict[str, None]] = {}
    for score in found.scores:
        for flag in score.flags:
            by_flag.setdefault(flag.partition(" (p = ")[0], {})[score.target] = None
    return " ".join(
        f"Somewhere {flag}: {', '.join(f'`{t}`' for t in targets)}."
        for flag, targets in by_flag.items()
    )


def _skill(s: ProbeScore) -> float:
    value = s.score.value or 0.0
    return max(0.0, (value - s.chance) / (1 - s.chance))


def _hover(s: ProbeScore) -> str:
    low, high = s.score.low, s.score.high
    interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"{s.metric} {s.score.value:.3f}{interval}, control {s.control:.3f}"


def _pathways(found: ProbeMap) -> list[str]:
    return list(dict.fromkeys(HookPoint.parse(p).pathway for p in found.points))
