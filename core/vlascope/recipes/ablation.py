"""What breaks when something is taken away: layers, sites, times, and sets of features."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from vlascope import plugins
from vlascope.errors import StudyFileError
from vlascope.sections import Section
from vlascope.study.recipe import Parts, Reading, Recipe, Scope
from vlascope.study.schema import Arm, Controls
from vlascope.study.windows import window

if TYPE_CHECKING:
    from vlascope.hooks import Pathway
    from vlascope.study.quantity import Quantity

__all__ = ["Ablated", "Ablation", "Cut", "RankedSet"]

Method = Literal["zero", "mean", "resample"]
Layer = Annotated[str, Field(pattern=r"^[a-z_0-9]+\.(\d+|\*|early|mid|late)$")]


@dataclass(frozen=True)
class Ablated:
    """One arm of the grid.

    Attributes:
        layer, site: where (`vlm.2`, `vlm.*`, `vlm.late`).
        window: which part of the episode; empty for all of it.
    """

    arm: str
    layer: str
    site: str
    method: Method
    window: str = ""

    @property
    def at(self) -> str:
        """The glob of its hook points."""
        return f"{self.layer}.{self.site}"

    @property
    def pathway(self) -> str:
        """The stack it is in."""
        return self.layer.partition(".")[0]


@dataclass(frozen=True)
class Cut:
    """One arm of a fraction-to-failure curve: the top `size` of a set, or as many others."""

    arm: str
    of: str
    size: int
    which: Literal["top", "random"]
    matched: str | None = None


class RankedSet(BaseModel):
    """Things to remove from the first on, against random ones of the same kind.

    Attributes:
        edit: the intervention without the list: `{kind: clamp, at: vlm.0.mlp_act, value: 0}`,
            `{kind: feature_edit, at: ..., sae: ..., ...}`.
        field: the list's name in it (`neurons`, `features`).
        ranked: what goes into it, first things first.
        among: what random sets are drawn from: as many from 0 on, or a list.
        sizes: how many are removed.
        draws: random sets of each size.
        seed: of the draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    edit: dict[str, Any]
    field: str
    ranked: Annotated[tuple[int | str, ...], Field(min_length=1)]
    among: Annotated[int, Field(ge=1)] | tuple[int | str, ...]
    sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 2, 4, 8)
    draws: Annotated[int, Field(ge=1)] = 1
    seed: int = 0

    def top(self, size: int) -> dict[str, Any]:
        """The edit of the first `size`.

        Raises:
            StudyFileError: there are not as many.
        """
        if size > len(self.ranked):
            raise StudyFileError(f"size {size} of a ranked list of {len(self.ranked)}")
        return {**self.edit, self.field: list(self.ranked[:size])}

    def random(self, size: int, draw: int) -> dict[str, Any]:
        """The edit of as many others, none of them among the first `size`.

        Raises:
            StudyFileError: there are not as many others.
        """
        every = range(self.among) if isinstance(self.among, int) else self.among
        others = [x for x in every if x not in self.ranked[:size]]
        if len(others) < size:
            raise StudyFileError(f"a random set of {size} of {len(others)} others; raise `among`")
        rng = random.Random(f"{self.seed}/{size}/{draw}")
        return {**self.edit, self.field: sorted(rng.sample(others, size), key=str)}


class Ablation(Recipe):
    """A grid of layers, sites and methods; parts of the episode; and fraction-to-failure curves.

    Attributes:
        layers: `vlm.2`, `vlm.early` (a third) or `vlm.*` (all).
        sites: where in a block.
        methods: `zero`, the baseline's `mean` (call by call), or `resample` from another episode.
        mean: one over all tokens (`pooled`), or one per token position.
        tokens: globs of token spans; every token where left out.
        windows: parts of the episode (`first_half`, `quarter_1`, ...), with the first method.
        windowed: the layers whose windows are played; by default all of `layers`.
        steps: environment steps that windows are fractions of; None for the study's `max_steps`.
        sets: ranked sets by name, for fraction-to-failure curves.
        random_direction: play every grid arm's control of equal norm and random direction too.
        seeds: how many of the study's seeds; None for all.
        alpha: level of the verdicts, after Holm's adjustment over the grid.
    """

    kind: ClassVar[str] = "ablation"
    title: ClassVar[str] = "What breaks when something is taken away?"

    layers: Annotated[tuple[Layer, ...], Field(min_length=1)]
    sites: Annotated[tuple[str, ...], Field(min_length=1)] = ("mlp_out", "resid_post")
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = ("zero", "mean", "resample")
    mean: Literal["pooled", "per_token"] = "pooled"
    tokens: tuple[str, ...] | None = None
    windows: tuple[str, ...] = ()
    windowed: tuple[Layer, ...] = ()
    steps: Annotated[int, Field(ge=1)] | None = None
    sets: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], RankedSet] = Field(
        default_factory=dict
    )
    random_direction: bool = True
    seeds: Annotated[int, Field(ge=1)] | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05

    @classmethod
    def suggested(cls, pathways: Sequence[Pathway]) -> dict[str, Any]:
        """Every pathway in thirds where it is deep enough, else layer by layer."""
        layers = [
            f"{p.name}.{part}"
            for p in pathways
            for part in (("early", "mid", "late") if p.n_layers >= 3 else range(p.n_layers))
        ]
        return {"layers": layers, "sites": ["mlp_out", "resid_post"], "methods": ["zero", "mean"]}

    def parts(self, name: str, scope: Scope) -> Parts:
        """A hooked arm, the grid, its windows, the sets, and the analysis that finds means."""
        seeds = scope.seeds[: self.seeds] if self.seeds else None
        hooked = f"{name}_hooked"
        globs = tuple(f"{layer}.{site}" for layer in self._every_layer for site in self.sites)
        arms = {
            hooked: Arm(
                about="every point hooked, nothing changed",
                interventions=({"kind": "identity", "at": list(globs)},),
                seeds=seeds,
            )
        }
        for one in self.grid(name):
            edit = self._edit(name, one, scope)
            controls = Controls(identity=hooked, random_direction="auto")
            if not self.random_direction:
                controls = Controls(
                    identity=hooked, waived="no control of equal norm was asked for"
                )
            about = f"{one.method} at {one.at}" + (f", {one.window}" if one.window else "")
            arms[one.arm] = Arm(about=about, interventions=(edit,), controls=controls, seeds=seeds)
        for key, ranked in self.sets.items():
            arms |= _set_arms(f"{name}_{key}", ranked, seeds)
        recorded = globs if {"mean", "resample"} & set(self.methods) else ()
        means = {"kind": "means", "arms": [scope.baseline], "at": list(recorded)}
        return Parts(arms=arms, analyses={f"{name}_means": means})

    def section(self, reading: Reading) -> Section:
        """The grid, rates of zero effect and destruction, windows and curves."""
        from vlascope.recipes.ablation_section import ablation_section

        return ablation_section(self, reading)

    def quantities(self, reading: Reading) -> tuple[Quantity, ...]:
        """The effect of every arm of the grid, and the rates of zero effect and destruction."""
        from vlascope.recipes.ablation_quantities import ablation_quantities

        return ablation_quantities(self, reading)

    def grid(self, name: str) -> Iterator[Ablated]:
        """Every arm of the grid, and of its windows."""
        for layer in self.layers:
            for site in self.sites:
                for method in self.methods:
                    yield Ablated(_arm(name, layer, site, method), layer, site, method)
        for layer in self.windowed or self.layers:
            for site in self.sites:
                for part in self.windows:
                    method = self.methods[0]
                    arm = _arm(name, layer, site, method, part)
                    yield Ablated(arm, layer, site, method, part)

    def cuts(self, name: str) -> Iterator[Cut]:
        """Every arm of the fraction-to-failure curves."""
        for key, ranked in self.sets.items():
            arm = f"{name}_{key}"
            for n in ranked.sizes:
                matched = f"{arm}_top{n}.matched" if _has_match(ranked) else None
                yield Cut(f"{arm}_top{n}", key, n, "top", matched)
                for draw in range(ranked.draws):
                    yield Cut(f"{arm}_random{n}_{draw + 1}", key, n, "random")

    @property
    def _every_layer(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.layers, *(self.windowed if self.windows else ()))))

    def _edit(self, name: str, one: Ablated, scope: Scope) -> dict[str, Any]:
        limits: dict[str, Any] = {}
        if self.tokens is not None:
            limits["tokens"] = list(self.tokens)
        if one.window:
            steps = self.steps or scope.max_steps
            if steps is None:
                raise StudyFileError("windows need `steps`, or the study's `max_steps`")
            limits["steps"] = list(window(one.window, steps))
        if one.method == "zero":
            return {"kind": "zero_ablate", "at": [one.at], **limits}
        what = "resample" if one.method == "resample" else _MEANS[self.mean]
        found = {"kind": "from_analysis", "analysis": f"{name}_means", "key": f"{what}:{one.at}"}
        return {**found, "with": limits} if limits else found


_MEANS = {"pooled": "mean", "per_token": "mean_per_token"}


def _arm(name: str, layer: str, *more: str) -> str:
    return "_".join((name, layer.replace(".*", "_all").replace(".", "_"), *(m for m in more if m)))


def _has_match(ranked: RankedSet) -> bool:
    kind = plugins.intervention_class(str(ranked.edit.get("kind")))
    return kind.control("matched", ranked.top(ranked.sizes[0])) is not None


def _set_arms(name: str, ranked: RankedSet, seeds: tuple[int, ...] | None) -> dict[str, Arm]:
    hooked = f"{name}_hooked"
    identity = {"kind": "identity", "at": ranked.edit.get("at", ())}
    arms = {hooked: Arm(about="hooked, nothing changed", interventions=(identity,), seeds=seeds)}
    why = "random sets of equal size are its control"
    matched = "auto" if _has_match(ranked) else None
    for n in ranked.sizes:
        arms[f"{name}_top{n}"] = Arm(
            about=f"the first {n} removed",
            interventions=(ranked.top(n),),
            controls=Controls(identity=hooked, matched=matched, waived=why),
            seeds=seeds,
        )
        for draw in range(ranked.draws):
            arms[f"{name}_random{n}_{draw + 1}"] = Arm(
                about=f"{n} others removed, drawn at random",
                interventions=(ranked.random(n, draw),),
                controls=Controls(identity=hooked, waived="it is a control itself"),
                seeds=seeds,
            )
    return arms
