"""Did an injection do what its source was after, and more than its controls do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vlascope.recipes.injection_grid import CONDITIONS, Condition
from vlascope.statistics import Comparison, Estimate, holm
from vlascope.study.findings import estimate, paired
from vlascope.study.measuring import Measuring

__all__ = ["DECIDING", "Verdict", "adjusted", "arms_of", "verdict", "verdict_of"]

DECIDING = ("no_injection", "random_direction")
"""Roles that an injection has to differ from to count as having an effect."""

Word = Literal["acts", "reversed", "not told apart"]


@dataclass(frozen=True)
class Verdict:
    """What an arm did, on the metric that its condition is about.

    Attributes:
        arm: by name; `condition` and `where` what it is.
        metric: which.
        value: of the arm.
        controls: by role.
        p: the larger of the two p against `DECIDING`; None where one is missing.
        adjusted: the same after Holm's adjustment over the section's arms.
        word: `acts` (differs from both, upwards), `reversed` (downwards) or `not told apart`.
    """

    arm: str
    condition: Condition
    where: str
    metric: str
    value: Estimate
    controls: Mapping[str, Comparison]
    p: float | None
    adjusted: float | None = None
    word: Word = "not told apart"


def arms_of(measuring: Measuring, name: str) -> list[tuple[str, Condition, str]]:
    """A recipe's injections: arm, condition, and where."""
    return [
        (group.arm, condition, group.definition.about.partition(": ")[2])
        for group in measuring.design.groups
        if group.role == "arm" and group.needs
        for condition in CONDITIONS
        if group.arm.startswith(f"{name}_{condition}_")
    ]


def verdict_of(
    measuring: Measuring,
    policy: str,
    arm: tuple[str, Condition, str],
    tasks: Sequence[str] | None = None,
) -> Verdict:
    """The arm against each of its controls, on the cells both were played for."""
    name, condition, where = arm
    metric = _metric(measuring, policy, name, condition, tasks)
    values = measuring.values(policy, name, metric, tasks)
    controls = {
        role: paired(metric, values, measuring.values(policy, control, metric, tasks, like=name))
        for role, control in measuring.design.controls(name).items()
    }
    found = Verdict(name, condition, where, metric, estimate(metric, values), controls, None)
    return verdict(found)


def verdict(found: Verdict) -> Verdict:
    """With the p of an effect against *both* deciding controls (intersection-union test)."""
    ps = [found.controls[role].p for role in DECIDING if role in found.controls]
    known = [p for p in ps if p is not None]
    complete = len(known) == len(DECIDING)
    return replace(found, p=max(known) if complete else None)


def adjusted(verdicts: Sequence[Verdict], alpha: float) -> list[Verdict]:
    """With Holm's adjustment over all that have a p, and what that leaves to be said."""
    ps = holm([v.p for v in verdicts])
    return [
        v if p is None else replace(v, adjusted=p, word=_word(v, p, alpha))
        for v, p in zip(verdicts, ps, strict=True)
    ]


def _word(found: Verdict, p: float, alpha: float) -> Word:
    signs = [found.controls[role].difference.value or 0.0 for role in DECIDING]
    if p > alpha or min(signs) <= 0 <= max(signs):
        return "not told apart"
    return "acts" if signs[0] > 0 else "reversed"


def _metric(
    measuring: Measuring,
    policy: str,
    arm: str,
    condition: Condition,
    tasks: Sequence[str] | None,
) -> str:
    """Success where a prompt was taken away, the source's goal where it has one, else override."""
    if condition == "null_prompt":
        return "success"
    if condition == "self":
        return "displacement"
    goals = measuring.values(policy, arm, "source_goal", tasks).values()
    return "source_goal" if any(v is not None for v in goals) else "override_margin"
