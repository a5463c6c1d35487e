"""What does a direction do? Strengths and layers, and a closed loop, beside random directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vlascope.analyses.directions import Contrast
from vlascope.directions import load_directions
from vlascope.errors import StudyFileError
from vlascope.hooks import HookPoint
from vlascope.sections import Section
from vlascope.study.from_analysis import FROM_ANALYSIS
from vlascope.study.recipe import Parts, Reading, Recipe, Scope
from vlascope.study.schema import Arm, Controls, Finding, Prompt

if TYPE_CHECKING:
    from vlascope.hooks import Pathway

__all__ = ["Found", "Hold", "Kept", "Steered", "Steering"]

METRICS = ("success", "displacement", "hand_speed", "hand_height")


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kept(_Options):
    """A direction kept in a file."""

    file: str
    name: str


class Found(_Options):
    """An edit that an analysis of this study offers."""

    analysis: str
    key: str


class Hold(_Options):
    """The closed loop; see `vlascope.interventions.SteerTo`.

    Attributes:
        quantity, target, gain, integral, limits, start: as there.
        hz: steps per second; by default the benchmark's own.
    """

    quantity: str = "speed"
    target: float
    gain: float = 1.0
    integral: float = 0.5
    limits: tuple[float, float] = (-1.0, 1.0)
    start: float = 0.0
    hz: float | None = None


class Steered(_Options):
    """One steered arm: where and how hard; strength None for the closed loop."""

    arm: str
    at: str
    strength: float | None


class Steering(Recipe):
    """A direction added at given points and strengths; give one of the first three.

    Attributes:
        direction: `{file, name}`.
        contrast: found as a difference of means in the baseline: `{by: speed}`, `{tasks: [A, B]}`.
        source: an edit that another analysis offers, `{analysis, key}`.
        at: hook points, each steered by itself; a kept direction's own where left out.
        strengths: alpha of each arm.
        relative: whether alpha is a multiple of each token's own norm.
        tokens: globs of token spans; None for all.
        steps: environment steps at which to steer; None for all.
        hold: also steer with feedback, at every point.
        randoms: random directions of equal norm per strength; with 19 or more, an effect can be
            the largest of all at p = 0.05.
        prompting: a prompt that asks for the same thing.
        tasks: a part of the study's tasks.
    """

    kind: ClassVar[str] = "steering"
    title: ClassVar[str] = "What does a direction do?"

    direction: Kept | None = None
    contrast: Contrast | None = None
    source: Found | None = None
    at: tuple[str, ...] = ()
    strengths: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = (-0.5, -0.25, 0.25, 0.5)
    relative: bool = True
    tokens: tuple[str, ...] | None = None
    steps: tuple[int, int] | None = None
    hold: Hold | None = None
    randoms: Annotated[int, Field(ge=1)] = 1
    prompting: str | Prompt | None = None
    tasks: tuple[str, ...] | None = None

    @field_validator("at", "tokens", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(v is not None for v in (self.direction, self.contrast, self.source)) != 1:
            raise ValueError("give one of `direction`, `contrast` and `source`")
        if self.contrast is not None and not self.at:
            raise ValueError("a contrast needs `at`, the hook points to find directions at")
        if self.source is not None and self.hold is not None:
            raise ValueError("`hold` needs a `direction` or a `contrast`")
        if self.randoms > 1 and (self.source is not None or not self.relative):
            raise ValueError("more than one random direction needs `relative`, and no `source`")
        if 0.0 in self.strengths or len(set(self.strengths)) < len(self.strengths):
            raise ValueError("strengths differ, and none is 0")
        for point in self.at:
            HookPoint.parse(point)
        return self

    @classmethod
    def suggested(cls, pathways: Sequence[Pathway]) -> dict[str, Any]:
        """Along what sets fast from slow moments, in the middle of the last pathway."""
        last = pathways[-1]
        return {
            "contrast": {"by": "speed"},
            "at": [f"{last.name}.{last.n_layers // 2}.resid_post"],
            "strengths": [-0.5, -0.25, 0.25, 0.5],
            "hold": {"quantity": "speed", "target": 0.2},
        }

    def parts(self, name: str, scope: Scope) -> Parts:
        """A hooked arm, an arm per point and strength, the closed loop, and prompting."""
        self._refuse_other_sites()
        arms: dict[str, Arm] = {f"{name}_hooked": self._hooked(name)}
        if self.prompting is not None:
            about = "asked for the same in words"
            arms[f"{name}_prompted"] = Arm(about=about, prompt=self.prompting, tasks=self.tasks)
        for steered in self.steered(name):
            arms[steered.arm] = self._arm(name, steered, scope)
            arms |= self._more_randoms(steered)
        named = tuple(s.arm for s in self.steered(name))
        findings = {
            f"{name}_{metric}": Finding(question=_QUESTIONS[metric], metric=metric, arms=named)
            for metric in METRICS
        }
        return Parts(arms=arms, findings=findings, analyses=self._analyses(name, scope))

    def section(self, reading: Reading) -> Section:
        """Success, speed and height by arm against random directions; the loop over time."""
        from vlascope.recipes.steering_section import steering_section

        return steering_section(self, reading)

    def steered(self, name: str) -> tuple[Steered, ...]:
        """The steered arms, closed loops last at each point."""
        found: list[Steered] = []
        for point in self.points:
            plain = f"{name}_{point.replace('.', '_')}"
            for strength in self.strengths:
                sign = "up" if strength > 0 else "down"
                size = f"{abs(strength):g}".replace(".", "_").replace("-", "m").replace("+", "")
                found.append(Steered(arm=f"{plain}_{sign}{size}", at=point, strength=strength))
            if self.hold is not None:
                found.append(Steered(arm=f"{plain}_held", at=point, strength=None))
        return tuple(found)

    @cached_property
    def points(self) -> tuple[str, ...]:
        """Where it steers."""
        if self.at or self.direction is None:
            return self.at or ("found",)
        return (load_directions(self.direction.file)[self.direction.name].at,)

    def randoms_of(self, steered: Steered) -> tuple[str, ...]:
        """The arms along random directions of equal norm, the automatic one first."""
        count = self.randoms if steered.strength is not None else 1
        more = (f"{steered.arm}_random{k}" for k in range(1, count))
        return (f"{steered.arm}.random_direction", *more)

    def _more_randoms(self, steered: Steered) -> dict[str, Arm]:
        arms: dict[str, Arm] = {}
        for k, arm in enumerate(self.randoms_of(steered)[1:], 1):
            assert steered.strength is not None  # a closed loop has one
            edit = {
                "kind": "random_direction",
                **self._where([steered.at]),
                "strength": abs(steered.strength),
                "seed": k,
            }
            about = f"random direction {k} of the norm of {steered.arm}"
            arms[arm] = Arm(about=about, interventions=(edit,), tasks=self.tasks)
        return arms

    def _hooked(self, name: str) -> Arm:
        where = self._where(self.points)
        if self.source is not None:
            edit = {**self._from(self.source.analysis, self.source.key), "role": "identity"}
        else:
            edit = {"kind": "identity", **where}
        about = f"every point of {name} hooked, nothing changed"
        return Arm(about=about, interventions=(edit,), tasks=self.tasks)

    def _refuse_other_sites(self) -> None:
        """A kept direction is for its own pathway and site."""
        if self.direction is None:
            return
        found = load_directions(self.direction.file)[self.direction.name]
        home = HookPoint.parse(found.at)
        for at in self.at:
            point = HookPoint.parse(at)
            if (point.pathway, point.site) != (home.pathway, home.site):
                raise StudyFileError(
                    f"direction {found.name!r} was found at {found.at}, not at {at}: there its "
                    "numbers mean something else"
                )

    def _arm(self, name: str, steered: Steered, scope: Scope) -> Arm:
        controls = Controls(
            identity=f"{name}_hooked",
            random_direction="auto",
            prompting=f"{name}_prompted" if self.prompting is not None else None,
        )
        held = steered.strength is None
        about = f"steered at {steered.at}, " + (
            f"{self._held.quantity} held at {self._held.target:g}"
            if held
            else f"strength {steered.strength:+g}" + (" ||x||" if self.relative else "")
        )
        edit = self._edit(name, steered, scope)
        return Arm(about=about, interventions=(edit,), controls=controls, tasks=self.tasks)

    def _edit(self, name: str, steered: Steered, scope: Scope) -> dict[str, Any]:
        fields: dict[str, Any] = {"relative": self.relative, **self._where(None)}
        if steered.strength is not None:
            fields["strength"] = steered.strength
        else:
            fields |= self._held.model_dump(exclude={"hz"})
            fields["hz"] = self._held.hz or _hz(scope)
        if self.source is not None:
            return self._from(self.source.analysis, self.source.key, fields)
        if self.contrast is not None:
            key = steered.at if steered.strength is not None else f"{steered.at} held"
            return self._from(f"{name}_directions", key, fields)
        kind = "steer" if steered.strength is not None else "steer_to"
        assert self.direction is not None  # the validator saw to it
        direction = {**self.direction.model_dump(), **({"layers": True} if self.at else {})}
        return {"kind": kind, "at": [steered.at], "direction": direction, **fields}

    def _from(
        self, analysis: str, key: str, fields: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        more = {"with": dict(fields)} if fields else {}
        return {"kind": FROM_ANALYSIS, "analysis": analysis, "key": key, **more}

    def _where(self, points: Sequence[str] | None) -> dict[str, Any]:
        limits = {"tokens": self.tokens, "steps": self.steps}
        where = {key: list(value) for key, value in limits.items() if value is not None}
        return where if points is None else {"at": list(points), **where}

    def _analyses(self, name: str, scope: Scope) -> dict[str, dict[str, Any]]:
        if self.contrast is None:
            return {}
        found = {
            "kind": "difference_of_means",
            "arms": list(self.contrast.arms or (scope.baseline,)),
            "at": list(self.at),
            "contrast": self.contrast.model_dump(mode="json", exclude_none=True),
            "tokens": None if self.tokens is None else list(self.tokens),
        }
        return {f"{name}_directions": found}

    @property
    def _held(self) -> Hold:
        if self.hold is None:
            raise StudyFileError("there is no `hold`")
        return self.hold


_QUESTIONS = {
    "success": "Does the policy still succeed when steered?",
    "displacement": "How far does steering move the hand?",
    "hand_speed": "Does steering change the hand's speed?",
    "hand_height": "Does steering change the hand's height?",
}


def _hz(scope: Scope) -> float:
    """Steps per second of the study's benchmark."""
    from vlascope import plugins

    env = plugins.benchmark_class(scope.benchmark)(**scope.options)
    try:
        return env.info.hz
    finally:
        env.close()
