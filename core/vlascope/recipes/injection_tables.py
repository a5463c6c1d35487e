"""The injection chapter's tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlascope.recipes.injection_grid import Condition
from vlascope.recipes.injection_verdicts import Verdict
from vlascope.report.wording import p_value, spoken
from vlascope.sections import Cell, Table
from vlascope.study.findings import estimate
from vlascope.study.metrics import METRICS, override_verdict
from vlascope.study.tasks import known_tasks

if TYPE_CHECKING:
    from vlascope.recipes.injection import Injection
    from vlascope.study.recipe import Reading

__all__ = ["main_table", "norm_ratio", "plain_arms", "ratio_table", "share_table", "verdict_table"]

Arm = tuple[str, Condition, str]
Row = tuple[str | int | float | Cell | None, ...]

_SHOWN = (
    "success", "displacement", "override", "override_margin", "source_goal",
    "source_alignment_rank", "objects_disturbed",
)  # fmt: skip
_HEADS = (
    "success", "displacement", "override: path nearer to source", "override: cosine, margin",
    "source goal reached", "alignment rank among unrelated", "an object moved > 1 cm",
)  # fmt: skip


def main_table(recipe: Injection, reading: Reading, arms: Sequence[Arm]) -> Table:
    """Every metric of every arm, and of the same prompts without injection."""
    rows = []
    for arm in arms:
        rows.append(_row(reading, arm, arm[1], None))
        if arm[1] == "cross_task" and "same_scene" in recipe.conditions:
            same, other = _by_scene(reading, arm[0])
            rows += [_row(reading, arm, "same_scene", same)] if same and other else []
            rows += [_row(reading, arm, "another scene", other)] if same and other else []
    for name in plain_arms(reading):
        about = reading.measuring.design.group(name).definition.about
        rows.append(_row(reading, (name, "self", about), "no injection", None))
    return Table(
        title="Conditions by pathway",
        caption=(
            "Each number with its interval (Wilson for shares, bootstrap over tasks otherwise) "
            "and n; displacement of the end effector from the paired baseline, mean over common "
            f"steps; cosine margin {reading.measuring.design.study.report.override_margin}."
        ),
        columns=("condition", "into", *_HEADS),
        rows=tuple(rows),
    )


def _row(reading: Reading, arm: Arm, condition: str, tasks: Sequence[str] | None) -> Row:
    cells: list[Cell | None] = []
    for metric in _SHOWN:
        values = reading.measuring.values(reading.policy, arm[0], metric, tasks)
        found = estimate(metric, values)
        cells.append(Cell(estimate=found, unit=METRICS[metric].unit) if found.n else None)
    return (condition.replace("_", " "), arm[2], *cells)


def plain_arms(reading: Reading) -> list[str]:
    """Arms of other prompts without any edit, and those whose prompt switches."""
    return [
        g.arm
        for g in reading.measuring.design.groups
        if g.arm.startswith(f"{reading.name}_")
        and g.role == "arm"
        and not g.definition.interventions
    ]


def _by_scene(reading: Reading, arm: str) -> tuple[list[str], list[str]]:
    """Tasks whose source is of their own scene, and the others."""
    known = known_tasks(reading.measuring.design.study.benchmark.name)
    sources = {task: r.task for (task, _), r in reading.measuring.design.group(arm).sources.items()}
    same = [t for t, s in sources.items() if known[t].scene and known[t].scene == known[s].scene]
    return same, [t for t in sources if t not in same]


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Each injection minus each of its controls."""
    roles = list(dict.fromkeys(role for v in verdicts for role in v.controls))
    return Table(
        title="Injection minus each control",
        caption=(
            "On the measure that each condition is about. p: the larger of those against no "
            "injection and against a random direction of equal norm, Holm-adjusted over the arms."
        ),
        columns=("condition", "into", "measure", *(spoken(r) for r in roles), "p", "verdict"),
        rows=tuple(
            (
                v.condition.replace("_", " "),
                v.where,
                METRICS[v.metric].label,
                *(
                    Cell(
                        estimate=v.controls[r].difference, unit=METRICS[v.metric].unit, signed=True
                    )
                    if r in v.controls and v.controls[r].difference.n
                    else None
                    for r in roles
                ),
                None if v.adjusted is None else p_value(v.adjusted),
                "a control itself" if v.condition == "self" else v.word,
            )
            for v in verdicts
        ),
    )


def share_table(reading: Reading, arms: Sequence[Arm]) -> Table:
    """Whose velocities an episode's are like, arm by arm, beside no injection."""
    rows: list[Row] = []
    for name, condition, where in arms:
        controls = reading.measuring.design.controls(name)
        for role in ("", "no_injection", "cross_prompt", "random_direction"):
            played = name if not role else controls.get(role)
            found = [] if played is None else _verdicts(reading, played, name)
            if not found:
                continue
            n = len(found)
            shares = (found.count(w) / n for w in ("source", "destination", "ambiguous"))
            what = f"{condition.replace('_', ' ')}: {where}" if not role else f"· {spoken(role)}"
            rows.append((what, *shares, n))
    return Table(
        title="Source, destination or ambiguous",
        caption="Cosine of end-effector velocities, with the margin; controls under each arm.",
        columns=("arm", "source", "destination", "ambiguous", "n"),
        rows=tuple(rows),
        folded=True,
    )


def _verdicts(reading: Reading, arm: str, like: str) -> list[str]:
    measuring, policy = reading.measuring, reading.policy
    trios = [
        measuring.trio(policy, arm, (plan.task, plan.seed), like=like)
        for plan in measuring.design.group(like).plans
    ]
    found = [override_verdict(t) for t in trios if t is not None]
    return [word for word in found if word is not None]


def ratio_table(reading: Reading, arms: Sequence[Arm]) -> Table:
    """How far each edit moved activations, beside its random controls."""
    rows: list[Row] = []
    for name, condition, where in arms:
        controls = reading.measuring.design.controls(name)
        moved = [norm_ratio(reading, name)] + [
            norm_ratio(reading, controls[r]) if r in controls else None
            for r in ("random_direction", "random_subspace")
        ]
        share = moved[2] / moved[0] if moved[0] and moved[2] is not None else None
        rows.append((f"{condition.replace('_', ' ')}: {where}", *moved, share))
    return Table(
        title="How far activations were moved",
        caption=(
            "‖Δx‖/‖x‖, mean over rows. Over several layers, a random direction matches the "
            "injection at each layer given what it has disturbed before, so it may move more in "
            "sum. A random subspace of equal dimension holds less of the difference, so it moves "
            "less: its norm as a share of the injection's stands last."
        ),
        columns=("arm", "injection", "random direction", "random subspace", "share"),
        rows=tuple(rows),
        folded=True,
    )


def norm_ratio(reading: Reading, arm: str) -> float | None:
    """Mean ‖Δx‖/‖x‖ over an arm's episodes and edits; None where nothing was edited."""
    found = [
        r.dx_ratio_mean
        for episode in reading.measuring.episodes.of(reading.policy, arm)
        for r in episode.record.receipts
        if r.dx_ratio_mean is not None
    ]
    return sum(found) / len(found) if found else None
