"""Numbers per arm: success by task, effects against controls, how far the robot was moved."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from vlascope.statistics import Comparison, Estimate
from vlascope.study.findings import estimate, paired
from vlascope.study.groups import Cell, WorkGroup
from vlascope.study.measuring import Measuring
from vlascope.study.metrics import METRICS

__all__ = ["EffectLine", "MotionLine", "SuccessLine", "effects", "motion", "successes"]

MOTION = ("displacement", "final_displacement", "action_cosine", "velocity_cosine")


class SuccessLine(BaseModel):
    """Success of an arm: over all its tasks, and by task."""

    model_config = ConfigDict(frozen=True)

    policy: str
    arm: str
    role: str
    pooled: Estimate
    by_task: dict[str, Estimate]


class EffectLine(BaseModel):
    """An arm's success minus a control's, on the same tasks and seeds."""

    model_config = ConfigDict(frozen=True)

    policy: str
    arm: str
    role: str
    control: str
    metric: str
    comparison: Comparison


class MotionLine(BaseModel):
    """How an arm moved the robot compared with the paired baseline."""

    model_config = ConfigDict(frozen=True)

    policy: str
    arm: str
    values: dict[str, Estimate]


def successes(measuring: Measuring) -> tuple[SuccessLine, ...]:
    """One line per arm that is not merely a recording."""
    lines = []
    for policy, group in _shown(measuring):
        values = measuring.values(policy, group.arm, "success")
        by_task: dict[str, dict[Cell, float | None]] = {}
        for (task, seed), value in values.items():
            by_task.setdefault(task, type(values)())[task, seed] = value
        lines.append(
            SuccessLine(
                policy=policy,
                arm=group.arm,
                role=group.role,
                pooled=estimate("success", values),
                by_task={task: estimate("success", v) for task, v in by_task.items()},
            )
        )
    return tuple(lines)


def effects(measuring: Measuring) -> tuple[EffectLine, ...]:
    """Every arm against its controls, else against the baseline; also on the source's goal."""
    lines = []
    baseline = measuring.design.study.baseline_arm
    for policy, group in _shown(measuring):
        if group.role == "control" or group.arm == baseline:
            continue
        controls = measuring.design.controls(group.arm) or {"baseline": baseline}
        for metric in ("success", "source_goal"):
            arm = measuring.values(policy, group.arm, metric)
            if all(v is None for v in arm.values()):
                continue
            lines += [
                EffectLine(
                    policy=policy,
                    arm=group.arm,
                    role=role,
                    control=control,
                    metric=metric,
                    comparison=paired(
                        metric, arm, measuring.values(policy, control, metric, like=group.arm)
                    ),
                )
                for role, control in controls.items()
            ]
    return tuple(line for line in lines if line.comparison.difference.n)


def motion(measuring: Measuring) -> tuple[MotionLine, ...]:
    """Continuous metrics of every arm but the baseline."""
    baseline = measuring.design.study.baseline_arm
    lines = [
        MotionLine(
            policy=policy,
            arm=group.arm,
            values={
                METRICS[m].label: estimate(m, measuring.values(policy, group.arm, m))
                for m in MOTION
            },
        )
        for policy, group in _shown(measuring)
        if group.arm != baseline
    ]
    return tuple(line for line in lines if any(v.n for v in line.values.values()))


def _shown(measuring: Measuring) -> list[tuple[str, WorkGroup]]:
    return [
        (policy, group)
        for policy in measuring.design.study.policies
        for group in measuring.design.groups
        if group.role != "source"
    ]
