"""What can be read off each layer, and does the policy miss it when it is taken out?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from vlascope.sections import Cell, Section, Table
from vlascope.statistics import Comparison, Pair, compare, rate
from vlascope.study.from_analysis import FROM_ANALYSIS
from vlascope.study.recipe import Parts, Reading, Recipe, Scope
from vlascope.study.schema import Arm, Controls, Finding
from vlascope_probes.linear.analysis import random_key, removal_key
from vlascope_probes.linear.options import ProbeOptions

if TYPE_CHECKING:
    from vlascope.hooks import Pathway
    from vlascope.study.quantity import Quantity

__all__ = ["Probes"]


class Probes(Recipe):
    """A layer × target map of the baseline, and rollouts without what probes read.

    Attributes:
        at: globs of hook points; depth thirds may be named.
        options: targets, tokens, folds and controls; see `ProbeOptions`.
        remove: targets (or globs of regression targets) whose subspace is held at its mean at every
            point that reads it, in the pathway that reads it best, beside a random subspace of
            as many dimensions; empty for the map alone.
        tasks: a part of the study's tasks for the rollouts.
    """

    kind: ClassVar[str] = "probes"
    title: ClassVar[str] = "What can be read off each layer, and is it used?"

    at: tuple[str, ...] = ("*.resid_post",)
    options: ProbeOptions = Field(default_factory=ProbeOptions)
    remove: tuple[str, ...] = ("action.*",)
    tasks: tuple[str, ...] | None = None

    @field_validator("at", "remove", "tasks", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @classmethod
    def suggested(cls, pathways: Sequence[Pathway]) -> dict[str, Any]:
        """Every block's output; the actions taken out."""
        return {"at": [f"{p.name}.*.resid_post" for p in pathways], "remove": ["action.*"]}

    def parts(self, name: str, scope: Scope) -> Parts:
        """Two arms for every removal, and the analysis that finds them in the baseline."""
        arms: dict[str, Arm] = {}
        for group in self.remove:
            arm = arm_name(name, group)
            arms[f"{arm}_random"] = self._arm(
                name,
                random_key(group),
                f"a random subspace taken out, of as many dimensions as {group}",
                Controls(waived="it is itself the control of another arm"),
            )
            arms[arm] = self._arm(
                name,
                removal_key(group),
                f"what probes of {group} read, taken out",
                Controls(identity="auto", random_direction="auto", random_subspace=f"{arm}_random"),
            )
        named = tuple(arm_name(name, group) for group in self.remove)
        questions = {
            "success": "Does the policy succeed without what probes read?",
            "displacement": "How far does it stray without what probes read?",
        }
        findings = {
            f"{name}_{metric}": Finding(question=question, metric=metric, arms=named)
            for metric, question in questions.items()
            if named
        }
        analysis = {
            "kind": "probes",
            "arms": [scope.baseline],
            "at": list(self.at),
            "options": self.options.model_dump(mode="json"),
            "remove": list(self.remove),
        }
        return Parts(arms=arms, findings=findings, analyses={f"{name}_map": analysis})

    def section(self, reading: Reading) -> Section:
        """The maps, the projection test, and success without each subspace."""
        result = reading.analyses.get(f"{reading.name}_map")
        if result is None:
            return Section(
                name=reading.name,
                title=self.title,
                policy=reading.policy,
                unresolved=("The probes were not fitted; see the ledger for the reason.",),
            )
        table, said, unclear = self._rollouts(reading)
        return Section(
            name=reading.name,
            title=self.title,
            policy=reading.policy,
            sentences=(*result.sentences, *said),
            blocks=(*result.blocks, *((table,) if self.remove else ())),
            unresolved=(*result.unresolved, *unclear),
        )

    def quantities(self, reading: Reading) -> tuple[Quantity, ...]:
        """What can be read off each layer, and success without it."""
        from vlascope_probes.recipes.probes_quantities import probes_quantities

        return probes_quantities(self, reading)

    def played_without(self, reading: Reading, group: str) -> tuple[Comparison, Comparison]:
        """Success without a group's subspace, minus the baseline's and minus a random one's."""
        arm = arm_name(reading.name, group)
        without, chance, plain = (
            reading.measuring.values(reading.policy, a, "success")
            for a in (arm, f"{arm}_random", reading.measuring.design.study.baseline_arm)
        )
        return _paired(without, plain), _paired(without, chance)

    def _arm(self, name: str, key: str, about: str, controls: Controls) -> Arm:
        edit = {"kind": FROM_ANALYSIS, "analysis": f"{name}_map", "key": key}
        return Arm(about=about, interventions=(edit,), controls=controls, tasks=self.tasks)

    def _rollouts(self, reading: Reading) -> tuple[Table, list[str], list[str]]:
        """Success by removal, against the baseline and a random subspace; and what that says."""
        measuring, policy = reading.measuring, reading.policy
        rows, said, unclear = [], [], []
        for group in self.remove:
            arm = arm_name(reading.name, group)
            without = measuring.values(policy, arm, "success")
            chance = measuring.values(policy, f"{arm}_random", "success")
            shown = [
                rate([None if v is None else bool(v) for v in m.values()])
                for m in (without, chance)
            ]
            versus = self.played_without(reading, group)
            rows.append(
                (
                    group,
                    *(Cell(estimate=e) for e in shown),
                    *(Cell(estimate=c.difference, signed=True) for c in versus),
                    versus[1].p,
                )
            )
            change = versus[1].difference
            if change.resolved:
                said.append(
                    f"Without what probes of `{group}` read, success differs by "
                    f"{change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}] from a random "
                    f"subspace of as many dimensions taken out (n = {change.n} pairs)."
                )
            else:
                smallest = versus[1].detectable
                limit = (
                    "any difference" if smallest is None else f"differences below {smallest:.2f}"
                )
                unclear.append(
                    f"Removing `{group}` against a random subspace: {change.n} pairs cannot "
                    f"resolve {limit} in success."
                )
        table = Table(
            title="Played without",
            caption="Success with each probe's subspace held at its mean wherever it is read in "
            "its pathway, at every call; differences are paired by task and seed.",
            columns=(
                "taken out",
                "success",
                "random subspace",
                "against baseline",
                "against random",
                "p",
            ),
            rows=tuple(rows),
        )
        return table, said, unclear


def arm_name(name: str, group: str) -> str:
    """An arm's name for a group of targets."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", group).strip("_")
    return f"{name}_without_{plain}"


def _paired(arm: dict[Any, float | None], other: dict[Any, float | None]) -> Comparison:
    shared = [cell for cell in arm if cell in other]
    return compare([Pair(cell[0], arm[cell], other[cell]) for cell in shared], binary=True)
