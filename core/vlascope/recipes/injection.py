"""Activation injection: one run's activations put into another (arXiv 2603.19233)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from vlascope.errors import StudyFileError
from vlascope.recipes.injection_grid import Condition, Grid, Place, within
from vlascope.recipes.pairings import cross_task, same_scene
from vlascope.sections import Section
from vlascope.study.depth import THIRDS
from vlascope.study.recipe import Parts, Reading, Recipe, Scope
from vlascope.study.schema import Arm, Finding
from vlascope.study.windows import window

if TYPE_CHECKING:
    from vlascope.hooks import Pathway
    from vlascope.study.quantity import Quantity

__all__ = ["Injection", "SubspaceChoice"]


class SubspaceChoice(BaseModel):
    """Injection within subspaces of one hook point.

    Attributes:
        at: the hook point.
        tokens: globs of token spans; every token where left out.
        dimensions: of the subspaces found in source minus target, an arm each.
        basis: `{file: PATH, name: NAME}` of a subspace found elsewhere (the span of SAE features
            or probes) to be used instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str
    tokens: tuple[str, ...] | None = None
    dimensions: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 4, 16)
    basis: dict[str, Any] | None = None


class Injection(Recipe):
    """Conditions by pathway, with the whole of methods' controls; details for one condition.

    Attributes:
        conditions: what goes into what; `same_scene` takes no arm of its own beside `cross_task`,
            whose tasks of shared scenes it is.
        pathways: into all layers of each.
        site: where in a block.
        detail: the condition that the rest of the options split up.
        depths: depth thirds of each pathway.
        layers: single layers, as `vlm.2`.
        sites: other sites, over all layers of each pathway.
        spans: token spans of all layers of a pathway, as `vlm:instruction`.
        windows: parts of the episode (`first_half`, `quarter_1`, ...).
        switches: fractions of the episode at which the prompt switches to another task's.
        subspaces: injection within subspaces.
        steps: environment steps that windows and switches are fractions of; None for the study's
            `max_steps`. An episode that is over before a window begins has nothing put in.
        seeds: how many of the study's seeds; None for all.
        align: `coordinate` refuses runs of other token counts, `span` pairs spans by name.
        alpha: level of the verdicts, after Holm's adjustment over arms.
    """

    kind: ClassVar[str] = "injection"
    title: ClassVar[str] = "What does another run's activations do?"

    conditions: Annotated[tuple[Condition, ...], Field(min_length=1)] = (
        "null_prompt", "cross_task", "same_scene", "cross_seed", "self",
    )  # fmt: skip
    pathways: Annotated[tuple[str, ...], Field(min_length=1)]
    site: str = "resid_post"
    detail: Literal["cross_task", "same_scene"] = "cross_task"
    depths: tuple[Literal["early", "mid", "late"], ...] = ()
    layers: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    spans: tuple[Annotated[str, Field(pattern=r"^[^:]+:[^:]+$")], ...] = ()
    windows: tuple[str, ...] = ()
    switches: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    subspaces: tuple[SubspaceChoice, ...] = ()
    steps: Annotated[int, Field(ge=1)] | None = None
    seeds: Annotated[int, Field(ge=1)] | None = 3
    align: Literal["coordinate", "span"] = "coordinate"
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05

    @classmethod
    def suggested(cls, pathways: Sequence[Pathway]) -> dict[str, Any]:
        """Every pathway but those of pictures alone, which runs of one scene leave nearly equal."""
        told = [p for p in pathways if not _of_pictures_alone(p)]
        written = cls(pathways=tuple(p.name for p in told or pathways))
        options = written.model_dump(mode="json", exclude={"steps", "alpha", "align"})
        return {name: value for name, value in options.items() if value not in ([], None)}

    @classmethod
    def suggested_for_uneven_prompts(cls) -> dict[str, Any]:
        """Runs of other token counts, their spans paired by name."""
        return {"align": "span"}

    def parts(self, name: str, scope: Scope) -> Parts:
        """Plain arms, then condition by condition, then the details of one."""
        tasks = tuple(t.name for t in scope.tasks)
        pairings = self._pairings(scope)
        whole = tuple(self._whole(p) for p in self.pathways)
        details = self._details(name, scope)
        grid = Grid(
            name=name,
            baseline=scope.baseline,
            places=(*whole, *details),
            seeds=scope.seeds[: self.seeds],
            tasks=tasks,
            paired={key: tuple(t for t in tasks if t in p) for key, p in pairings.items()},
            align=self.align,
        )
        arms = grid.plain(self._played)
        for condition in self._played:
            into = (_every(whole),) if condition == "self" else whole
            arms |= dict(grid.condition(condition, into))
        if details:
            arms |= dict(grid.condition(self._detailed, details))
        arms |= dict(grid.switched(step) for step in self._switch_steps(scope))
        return Parts(
            arms=arms,
            pairings={f"{name}_{key}": pairing for key, pairing in pairings.items()},
            analyses=self._analyses(name, scope),
            findings=self._findings(name, arms),
        )

    def section(self, reading: Reading) -> Section:
        """Conditions by pathway beside controls and the published figures."""
        from vlascope.recipes.injection_section import injection_section

        return injection_section(self, reading)

    def quantities(self, reading: Reading) -> tuple[Quantity, ...]:
        """Recovery, displacement, override and alignment by place, beside their controls."""
        from vlascope.recipes.injection_quantities import injection_quantities

        return injection_quantities(self, reading)

    @property
    def _played(self) -> tuple[Condition, ...]:
        """Conditions with arms of their own."""
        return tuple(
            c for c in dict.fromkeys(self.conditions)
            if c != "same_scene" or "cross_task" not in self.conditions
        )  # fmt: skip

    @property
    def _detailed(self) -> Condition:
        return self.detail

    def _pairings(self, scope: Scope) -> dict[str, dict[str, str]]:
        """`cross` and `same`, as far as they are needed and there are any."""
        found = {"cross": cross_task(scope.tasks), "same": same_scene(scope.tasks)}
        needs = {"cross_task": "cross", "same_scene": "same", "cross_prompt": "cross"}
        if any((self.depths, self.layers, self.sites, self.spans, self.windows, self.subspaces)):
            self._need(found[needs[self.detail]], self.detail)
        for condition in self._played:
            if condition in needs:
                self._need(found[needs[condition]], condition)
        if "cross_seed" in self.conditions and len(scope.seeds[: self.seeds]) < 2:
            raise StudyFileError("cross_seed needs two seeds or more; give the study some")
        wanted = {needs[c] for c in (*self._played, self.detail) if c in needs}
        return {key: pairing for key, pairing in found.items() if pairing and key in wanted}

    def _need(self, pairing: dict[str, str], condition: str) -> None:
        if not pairing:
            where = "of one scene " if condition == "same_scene" else ""
            raise StudyFileError(
                f"{condition} needs two tasks {where}that differ in their instruction; add tasks "
                "or leave the condition out"
            )

    def _whole(self, pathway: str) -> Place:
        return Place(pathway, (f"{pathway}.*.{self.site}",))

    def _details(self, name: str, scope: Scope) -> tuple[Place, ...]:
        found = [Place(f"{p} {d}", (f"{p}.{d}.{self.site}",)) for p in self.pathways
                 for d in THIRDS if d in self.depths]  # fmt: skip
        found += [Place(layer, (f"{layer}.{self.site}",)) for layer in self.layers]
        found += [Place(f"{p} {site}", (f"{p}.*.{site}",)) for p in self.pathways
                  for site in self.sites]  # fmt: skip
        for pathway, span in (s.split(":") for s in self.spans):
            found.append(within(self._whole(pathway), span, tokens=[span]))
        for part in self.windows:
            first, beyond = window(part, self._length(scope, part))
            found += [within(self._whole(p), part, steps=[first, beyond]) for p in self.pathways]
        for choice in self.subspaces:
            found += _subspace_places(name, choice)
        return tuple(found)

    def _switch_steps(self, scope: Scope) -> list[int]:
        if self.switches:
            self._need(cross_task(scope.tasks), "a prompt switch")
        return [
            max(1, round(part * self._length(scope, f"switch {part}"))) for part in self.switches
        ]

    def _length(self, scope: Scope, what: str) -> int:
        length = self.steps or scope.max_steps
        if length is None:
            raise StudyFileError(
                f"{what} is a part of an episode of unknown length; give the study `max_steps`, or "
                "this recipe `steps`"
            )
        if scope.max_steps is not None and length > scope.max_steps:
            raise StudyFileError(
                f"{what} is a part of {length} steps, past the episode's end: the study's "
                f"max_steps is {scope.max_steps}"
            )
        return length

    def _analyses(self, name: str, scope: Scope) -> dict[str, dict[str, Any]]:
        pairing = f"{name}_cross" if self.detail == "cross_task" else f"{name}_same"
        return {
            f"{name}_subspaces_{Place(c.at, ()).key}": {
                "kind": "difference_subspaces",
                "arms": [scope.baseline],
                "pairing": pairing,
                "at": c.at,
                "dimensions": list(c.dimensions),
                **({"tokens": list(c.tokens)} if c.tokens else {}),
            }
            for c in self.subspaces
            if c.basis is None
        }

    def _findings(self, name: str, arms: dict[str, Arm]) -> dict[str, Finding]:
        """Which pathway moves the robot more, as the source papers ask it."""
        for condition in ("cross_task", "same_scene"):
            asked = tuple(f"{name}_{condition}_{self._whole(p).key}" for p in self.pathways)
            if asked[0] in arms and len(asked) > 1:
                question = "Into which pathway does another task's run move the robot more?"
                finding = Finding(question=question, metric="displacement", arms=asked)
                return {f"{name}_displacement": finding}
        return {}


def _every(places: tuple[Place, ...]) -> Place:
    """All pathways at once."""
    label = " and ".join(place.label for place in places)
    return Place(label, tuple(glob for place in places for glob in place.at))


def _subspace_places(name: str, choice: SubspaceChoice) -> list[Place]:
    """The whole activation there, for comparison, and each subspace of it."""
    more = {"tokens": list(choice.tokens)} if choice.tokens else {}
    label = f"{choice.at} {','.join(choice.tokens)}" if choice.tokens else choice.at
    whole = Place(label, (choice.at,), more)
    if choice.basis is not None:
        held = Place(
            f"{label} in {choice.basis.get('name')}", (choice.at,), more, {"basis": choice.basis}
        )
        return [whole, held]
    analysis = f"{name}_subspaces_{Place(choice.at, ()).key}"
    return [
        whole,
        *(
            Place(f"{label} k={k}", (choice.at,), more, {"analysis": analysis, "key": f"k{k}"})
            for k in choice.dimensions
        ),
    ]


def _of_pictures_alone(pathway: Pathway) -> bool:
    """By the streams it mixes; by its name where it does not say them."""
    streams = {stream.partition(".")[0] for stream in pathway.mixes}
    return streams == {"image"} if streams else pathway.name == "vision"
