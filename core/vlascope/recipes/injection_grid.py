"""The arms of the injection recipe: conditions by places, each with its controls."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from vlascope.study.schema import Arm, Controls, Prompt, SourceChoice

__all__ = ["ABOUT", "CONDITIONS", "Condition", "Grid", "Place"]

Condition = Literal["null_prompt", "cross_task", "same_scene", "cross_seed", "cross_prompt", "self"]
CONDITIONS: Final[tuple[Condition, ...]] = (
    "null_prompt", "cross_task", "same_scene", "cross_seed", "cross_prompt", "self",
)  # fmt: skip
ABOUT: Final[Mapping[str, str]] = {
    "null_prompt": "no prompt, the prompted run put in",
    "cross_task": "another task's run put in",
    "same_scene": "the run of another task of the same scene put in",
    "cross_seed": "the same task's run from another initial state put in",
    "cross_prompt": "the run of the same scene and seed under another task's prompt put in",
    "self": "the episode's own run put back in",
}


@dataclass(frozen=True)
class Place:
    """Where and when something goes in.

    Attributes:
        label: in arm names and tables.
        at: globs of hook points; a depth third may be named.
        more: `tokens` and `steps` of the edits.
        subspace: fields that make it a subspace injection, `{basis: ...}`, or the edits of an
            analysis, `{analysis: ..., key: ...}`.
    """

    label: str
    at: tuple[str, ...]
    more: Mapping[str, Any] = field(default_factory=dict)
    subspace: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The label as a part of an arm's name."""
        return re.sub(r"[^a-z0-9]+", "_", self.label.lower()).strip("_")

    def edit(self, source: SourceChoice, align: str) -> dict[str, Any]:
        """The injection as a study writes it."""
        how = {"source": source.model_dump(exclude_defaults=True), "align": align, **self.more}
        if "analysis" in self.subspace:
            return {"kind": "from_analysis", **self.subspace, "with": how}
        kind = "inject_subspace" if self.subspace else "inject"
        return {"kind": kind, "at": list(self.at), **how, **self.subspace}


@dataclass(frozen=True)
class Grid:
    """Makes arms; every name begins with the recipe's.

    Attributes:
        name: the recipe's name in the study.
        baseline: the plain arm.
        places: every place that any arm edits, hooked by the identity controls.
        seeds: of every arm; controls that change nothing take the first.
        tasks: of the study.
        paired: tasks by pairing (`cross`, `same`).
        align: how token counts are matched.
    """

    name: str
    baseline: str
    places: tuple[Place, ...]
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    paired: Mapping[str, tuple[str, ...]]
    align: str

    def plain(self, conditions: tuple[Condition, ...]) -> dict[str, Arm]:
        """Prompts without injection, and every place hooked with nothing changed."""
        found = {}
        null = "null_prompt" in conditions
        if null:
            found[self.null] = self._arm("no prompt, nothing put in", prompt="")
        if self.paired:
            pairing = next(iter(self.paired))
            found[self.wrong] = self._arm(
                "another task's prompt, nothing put in",
                prompt=Prompt(task=f"{self.name}_{pairing}"),
                tasks=self.paired[pairing],
            )
        found[self.hooked] = self._hooked("every place hooked, nothing changed", None)
        if null:
            found[f"{self.hooked}_null"] = self._hooked("the same without a prompt", "")
        return found

    @property
    def null(self) -> str:
        """The arm without a prompt."""
        return f"{self.name}_null_prompt"

    @property
    def wrong(self) -> str:
        """The arm with another task's prompt."""
        return f"{self.name}_cross_prompt"

    @property
    def hooked(self) -> str:
        """The identity control."""
        return f"{self.name}_hooked"

    def condition(
        self, condition: Condition, places: tuple[Place, ...]
    ) -> Iterator[tuple[str, Arm]]:
        """The condition's arm at each place."""
        for place in places:
            yield f"{self.name}_{condition}_{place.key}", self._injection(condition, place)

    def switched(self, step: int) -> tuple[str, Arm]:
        """The other task's prompt from a step on."""
        pairing = next(iter(self.paired))
        prompt = Prompt(task=f"{self.name}_{pairing}", from_step=step)
        about = f"told another task from step {step} on"
        tasks = self.paired[pairing]
        return f"{self.name}_switch_{step}", self._arm(about, prompt=prompt, tasks=tasks)

    def _injection(self, condition: Condition, place: Place) -> Arm:
        edit = place.edit(self._source(condition), self.align)
        about = f"{ABOUT[condition]}: {place.label}"
        made = self._arm(about, interventions=(edit,), controls=self._controls(condition, place))
        if condition in ("cross_task", "same_scene"):
            pairing = "cross" if condition == "cross_task" else "same"
            return made.model_copy(update={"tasks": self.paired[pairing]})
        if condition == "cross_prompt":
            return made.model_copy(update={"tasks": self.paired[next(iter(self.paired))]})
        if condition == "null_prompt":
            return made.model_copy(update={"prompt": ""})
        return made if condition == "cross_seed" else made.model_copy(update={"seeds": self._first})

    def _source(self, condition: Condition) -> SourceChoice:
        if condition == "cross_task":
            return SourceChoice(arm=self.baseline, task=f"{self.name}_cross")
        if condition == "same_scene":
            return SourceChoice(arm=self.baseline, task=f"{self.name}_same")
        if condition == "cross_seed":
            return SourceChoice(arm=self.baseline, seed="other")
        return SourceChoice(arm=self.wrong if condition == "cross_prompt" else self.baseline)

    def _controls(self, condition: Condition, place: Place) -> Controls:
        if condition == "self":
            return Controls(waived="a run's own activations put back are a control themselves")
        null = condition == "null_prompt"
        crossed = condition in ("cross_task", "same_scene", "cross_prompt")
        return Controls(
            identity=f"{self.hooked}_null" if null else self.hooked,
            random_direction="auto",
            random_subspace="auto" if place.subspace else None,
            no_injection=self.null if null else self.baseline,
            cross_prompt=self.wrong if crossed else None,
            prompting=self.baseline if null else None,
        )

    def _hooked(self, about: str, prompt: str | None) -> Arm:
        at = list(dict.fromkeys(glob for place in self.places for glob in place.at))
        edit = {"kind": "identity", "at": at}
        arm = self._arm(about, prompt=prompt, interventions=(edit,))
        return arm.model_copy(update={"seeds": self._first})

    @property
    def _first(self) -> tuple[int, ...]:
        return self.seeds[:1]

    def _arm(self, about: str, **fields: Any) -> Arm:
        return Arm(about=about, seeds=self.seeds, **{"tasks": self.tasks, **fields})


def within(place: Place, label: str, **more: Any) -> Place:
    """The same place, restricted."""
    return replace(place, label=f"{place.label} {label}", more={**place.more, **more})
