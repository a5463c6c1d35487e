"""Answering a study's questions: each number beside its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from vlascope.statistics import (
    Comparison,
    Estimate,
    Pair,
    bootstrap_mean,
    compare,
    contrast,
    rate,
)
from vlascope.study.anytime import anytime_comparison, anytime_rate
from vlascope.study.design import Design
from vlascope.study.groups import Cell
from vlascope.study.measuring import MayStop, Measuring
from vlascope.study.metrics import METRICS
from vlascope.study.parts import parts_of
from vlascope.study.schema import Finding

__all__ = ["Answer", "ArmAnswer", "Contrast", "ControlAnswer", "answer", "estimate"]

Values = Mapping[Cell, float | None]


class ControlAnswer(BaseModel):
    """A control's own value, and the arm's difference from it."""

    model_config = ConfigDict(frozen=True)

    role: str
    arm: str
    value: Estimate
    comparison: Comparison


class ArmAnswer(BaseModel):
    """An arm's value in a part of the tasks, beside its controls.

    Attributes:
        group: which part; empty for all of the finding's tasks.
        tasks: how many tasks the episodes come from.
    """

    model_config = ConfigDict(frozen=True)

    arm: str
    group: str
    tasks: int
    value: Estimate
    controls: tuple[ControlAnswer, ...]


class Contrast(BaseModel):
    """Two arms on the same episodes, or one difference between two groups of tasks."""

    model_config = ConfigDict(frozen=True)

    label: str
    difference: Estimate
    p: float | None = None
    detectable: float | None = None


class Answer(BaseModel):
    """What was found about a question."""

    model_config = ConfigDict(frozen=True)

    name: str
    policy: str
    question: str
    metric: str
    arms: tuple[ArmAnswer, ...]
    contrasts: tuple[Contrast, ...]


def estimate(metric: str, values: Values) -> Estimate:
    """A rate with Wilson's interval, or a mean with a bootstrap interval over tasks."""
    if METRICS[metric].binary and isinstance(values, MayStop):
        return anytime_rate(values)
    if METRICS[metric].binary:
        return rate(list(values.values()))
    by_task = _by_task(values)
    found = bootstrap_mean(by_task)
    return found.model_copy(update={"missing": len(values) - found.n})


def paired(metric: str, arm: Values, control: Values) -> Comparison:
    """Arm minus control over the cells both were planned for."""
    cells = [cell for cell in arm if cell in control]
    if METRICS[metric].binary and (isinstance(arm, MayStop) or isinstance(control, MayStop)):
        return anytime_comparison({cell: (arm[cell], control[cell]) for cell in cells})
    pairs = [Pair(task, arm[task, seed], control[task, seed]) for task, seed in cells]
    return compare(pairs, binary=METRICS[metric].binary)


def answer(measuring: Measuring, name: str, finding: Finding, policy: str) -> Answer:
    """Work a finding out for one policy."""
    parts = parts_of(measuring.design, finding)
    rows = [
        _arm_answer(measuring, finding, policy, arm, group, tasks)
        for group, tasks in parts.items()
        for arm in finding.arms
    ]
    contrasts = [
        *_between_arms(measuring, finding, policy, parts),
        *_between_groups(measuring, finding, policy, parts),
    ]
    return Answer(
        name=name,
        policy=policy,
        question=finding.question,
        metric=finding.metric,
        arms=tuple(r for r in rows if r.value.n or r.value.missing),
        contrasts=tuple(contrasts),
    )


def _arm_answer(
    measuring: Measuring, finding: Finding, policy: str, arm: str, group: str, tasks: Sequence[str]
) -> ArmAnswer:
    values = measuring.values(policy, arm, finding.metric, tasks)
    controls = [
        _control_answer(measuring, finding, policy, arm, role, control, values)
        for role, control in _controls(measuring.design, finding, arm).items()
    ]
    return ArmAnswer(
        arm=arm,
        group=group,
        tasks=len({task for task, _ in values}),
        value=estimate(finding.metric, values),
        controls=tuple(controls),
    )


def _control_answer(
    measuring: Measuring,
    finding: Finding,
    policy: str,
    arm: str,
    role: str,
    control: str,
    values: Values,
) -> ControlAnswer:
    tasks = list(dict.fromkeys(task for task, _ in values))
    theirs = measuring.values(policy, control, finding.metric, tasks, like=arm)
    theirs = type(theirs)({cell: v for cell, v in theirs.items() if cell in values})
    return ControlAnswer(
        role=role,
        arm=control,
        value=estimate(finding.metric, theirs),
        comparison=paired(finding.metric, values, theirs),
    )


def _controls(design: Design, finding: Finding, arm: str) -> dict[str, str]:
    """By role: those the finding names, else the arm's own, else the baseline."""
    own = design.controls(arm)
    roles = {control: role for role, control in own.items()}
    if finding.against is not None:
        return {roles.get(c, c): c for c in finding.against if c != arm}
    baseline = design.study.baseline_arm
    if own:
        return own
    return {"baseline": baseline} if arm != baseline else {}


def _between_arms(
    measuring: Measuring, finding: Finding, policy: str, parts: Mapping[str, Sequence[str]]
) -> list[Contrast]:
    """Every further arm against the first, on the cells they share."""
    first, *others = finding.arms
    found = []
    for group, tasks in parts.items():
        reference = measuring.values(policy, first, finding.metric, tasks)
        for other in others:
            values = measuring.values(policy, other, finding.metric, tasks)
            comparison = paired(finding.metric, reference, values)
            where = f" in {group}" if group else ""
            found.append(
                Contrast(
                    label=f"`{first}` minus `{other}`{where}",
                    difference=comparison.difference,
                    p=comparison.p,
                    detectable=comparison.detectable,
                )
            )
    return found


def _between_groups(
    measuring: Measuring, finding: Finding, policy: str, parts: Mapping[str, Sequence[str]]
) -> list[Contrast]:
    """The first group's effect (arm minus one control) minus every other group's."""
    if finding.by != "groups" or len(parts) < 2:
        return []
    found = []
    for arm in finding.arms:
        control = _reference(_controls(measuring.design, finding, arm))
        if control is None:
            continue
        effects = {
            group: paired(
                finding.metric,
                measuring.values(policy, arm, finding.metric, tasks),
                measuring.values(policy, control, finding.metric, tasks, like=arm),
            ).difference
            for group, tasks in parts.items()
        }
        first, *others = effects
        found += [
            Contrast(
                label=f"effect of `{arm}` against `{control}`, {first} minus {other}",
                difference=contrast(effects[first], effects[other]),
            )
            for other in others
        ]
    return found


def _reference(controls: Mapping[str, str]) -> str | None:
    """The control that an effect is taken against: of the roles, no injection comes first."""
    return controls.get("no_injection") or next(iter(controls.values()), None)


def _by_task(values: Values) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for (task, _), value in values.items():
        if value is not None:
            found.setdefault(task, []).append(value)
    return found
