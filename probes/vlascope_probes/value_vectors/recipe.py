"""The recipe: hold the neurons that write a word, beside random neurons and beside prompting."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from vlascope.sections import Section
from vlascope.study.from_analysis import FROM_ANALYSIS
from vlascope.study.recipe import Parts, Reading, Recipe, Scope
from vlascope.study.schema import Arm, Controls, Finding, Prompt
from vlascope_probes.value_vectors.holding import Depth

if TYPE_CHECKING:
    from vlascope.hooks import Pathway

__all__ = ["METRICS", "ValueVectorRecipe"]

METRICS = ("success", "hand_speed", "hand_height", "displacement")
_QUESTIONS = {
    "success": "Does the policy still succeed while neurons are held?",
    "hand_speed": "Does holding the neurons of a word change the hand's speed?",
    "hand_height": "Does holding the neurons of a word change the hand's height?",
    "displacement": "How far does holding neurons move the hand?",
}


class ValueVectorRecipe(Recipe):
    """Clamp clusters of FFN neurons that write a word (arXiv 2509.00328), with controls.

    Attributes:
        concepts: words of the policy's vocabulary; opposites stand next to each other.
        size: neurons in a cluster.
        values: what they are held at, in the clusters of all layers.
        value: what the early, late and random sets are held at; by default the middle of `values`.
        depths: where else clusters are sought.
        draws: random sets of equal number that write as much, an arm each.
        prompts: a way to ask for the same, by concept; `{instruction}` stands for the task's own.
        rotations: random rotations that each cluster is set against.
        seed: of the random sets.
    """

    kind: ClassVar[str] = "value_vectors"
    title: ClassVar[str] = "What do neurons that write a word do?"

    concepts: Annotated[tuple[str, ...], Field(min_length=1)] = ("fast", "slow")
    size: Annotated[int, Field(ge=1)] = 20
    values: Annotated[tuple[float, ...], Field(min_length=1)] = (2.0, 6.0, 20.0)
    value: float | None = None
    depths: tuple[Depth, ...] = ("early", "late")
    draws: Annotated[int, Field(ge=1)] = 3
    prompts: dict[str, str] = Field(default_factory=dict)
    rotations: Annotated[int, Field(ge=0)] = 99
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _concepts_differ(self) -> Self:
        if len(set(self.concepts)) < len(self.concepts) or "" in self.concepts:
            raise ValueError("`concepts` are different words")
        if unknown := sorted(set(self.prompts) - set(self.concepts)):
            raise ValueError(f"`prompts` are by concept; {unknown} are no `concepts`")
        if self.value is not None and self.value not in self.values:
            raise ValueError(f"`value` is one of `values` {self.values}, so that all compare")
        return self

    @classmethod
    def suggested(cls, pathways: Sequence[Pathway]) -> dict[str, Any]:
        """Fast against slow, asked for in words as well."""
        prompts = {"fast": "quickly {instruction}", "slow": "slowly {instruction}"}
        return {"concepts": ["fast", "slow"], "values": [2.0, 6.0, 20.0], "prompts": prompts}

    @property
    def middle(self) -> float:
        """What early, late and random sets are held at."""
        ordered = sorted(self.values)
        return ordered[len(ordered) // 2] if self.value is None else self.value

    def held(self, name: str) -> dict[str, tuple[str, str, float]]:
        """Arms that hold a cluster: (concept, depth, value) by arm."""
        found = {}
        for concept in self.concepts:
            for value in self.values:
                found[_arm(name, concept, _number(value))] = (concept, "full", value)
            for depth in self.depths:
                if depth != "full":
                    found[_arm(name, concept, depth)] = (concept, depth, self.middle)
        return found

    def random(self, name: str, concept: str) -> tuple[str, ...]:
        """Arms that hold random neurons instead of a concept's."""
        return tuple(_arm(name, concept, f"random{draw}") for draw in range(self.draws))

    def prompted(self, name: str, concept: str) -> str | None:
        """The arm that asks for the concept in words."""
        return _arm(name, concept, "prompted") if concept in self.prompts else None

    def parts(self, name: str, scope: Scope) -> Parts:
        """A hooked arm, and per concept: values, depths, random neurons and prompting."""
        from vlascope_probes.value_vectors.analysis import held_key, random_key

        first = held_key(self.concepts[0], "full", self.middle)
        identity = {**self._edit(name, first), "role": "identity"}
        about = "the neurons' layers hooked, nothing changed"
        arms = {f"{name}_hooked": Arm(about=about, interventions=(identity,))}
        for concept in self.concepts:
            asked = self.prompted(name, concept)
            if asked is not None:
                prompt = Prompt(template=self.prompts[concept])
                arms[asked] = Arm(about=f"asked for {concept} in words", prompt=prompt)
            waived = Controls(waived="is itself a control: random neurons that write as much")
            for draw, arm in enumerate(self.random(name, concept)):
                key = random_key(concept, draw, self.middle)
                about = f"random neurons, as many as write {concept}, writing as much"
                edits = (self._edit(name, key),)
                arms[arm] = Arm(about=about, interventions=edits, controls=waived)
        for arm, (concept, depth, value) in self.held(name).items():
            controls = Controls(
                identity=f"{name}_hooked",
                random_direction="auto",
                matched=self.random(name, concept)[0],
                prompting=self.prompted(name, concept),
            )
            about = f"neurons that write {concept} held at {value:g}, {depth} layers"
            edits = (self._edit(name, held_key(concept, depth, value)),)
            arms[arm] = Arm(about=about, interventions=edits, controls=controls)
        findings = {
            f"{name}_{metric}": Finding(
                question=_QUESTIONS[metric], metric=metric, arms=tuple(self.held(name))
            )
            for metric in METRICS
        }
        return Parts(arms=arms, findings=findings, analyses=self._analysis(name, scope))

    def section(self, reading: Reading) -> Section:
        """Success, speed and height by arm, against random neurons and prompting."""
        from vlascope_probes.value_vectors.section import value_vector_section

        return value_vector_section(self, reading)

    def _analysis(self, name: str, scope: Scope) -> dict[str, dict[str, Any]]:
        others = [depth for depth in self.depths if depth != "full"]
        found = {
            "kind": "value_vectors",
            "arms": [scope.baseline],
            "concepts": list(self.concepts),
            "size": self.size,
            "values": list(self.values),
            "depths": ["full", *others],
            "draws": self.draws,
            "rotations": self.rotations,
            "seed": self.seed,
        }
        return {f"{name}_words": found}

    def _edit(self, name: str, key: str) -> dict[str, Any]:
        return {"kind": FROM_ANALYSIS, "analysis": f"{name}_words", "key": key}


def _arm(name: str, concept: str, what: str) -> str:
    word = re.sub(r"[^a-z0-9]+", "_", concept.lower()).strip("_")
    return f"{name}_{word}_{what}"


def _number(value: float) -> str:
    return f"{value:g}".replace(".", "_").replace("-", "minus").replace("+", "")
