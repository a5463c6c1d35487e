"""Concepts: which exist where, and do the strongest cause what they stand for?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_validator

from vlascope.errors import StudyFileError
from vlascope.sections import Section
from vlascope.study.from_analysis import FROM_ANALYSIS
from vlascope.study.recipe import Parts, Reading, Recipe, Scope
from vlascope.study.schema import Arm, Controls
from vlascope_probes.concepts.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from vlascope.hooks import Pathway
    from vlascope.study.quantity import Quantity

__all__ = ["ConceptRecipe"]


class ConceptRecipe(Recipe):
    """Search the baseline's activations for concepts, then ablate and steer the strongest.

    Every tested concept gets an arm `ablate_K` and one `steer_K_*` per strength, each beside a
    random direction of equal norm and, for features of an encoder, the same edit of a feature
    that fires as often.

    Attributes:
        at: globs of the hook points searched; depth thirds may be named.
        tokens: globs of token spans.
        vocabulary: files of concepts beside the built-in ones.
        concepts: only these.
        encoder: the folder of an encoder, whose features are tested instead of directions.
        top: how many concepts are tested, the strongest.
        per_group: at most so many of one group of the vocabulary.
        strengths: of steering, in multiples of each token's own norm.
        seeds: how many of the study's seeds the arms are played with; None for all.
        permutations, fdr: of the null.
    """

    kind: ClassVar[str] = "concepts"
    title: ClassVar[str] = "Which concepts exist where, and do they cause what they stand for?"

    at: Annotated[tuple[str, ...], Field(min_length=1)]
    tokens: tuple[str, ...] = ("*",)
    vocabulary: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()
    encoder: str | None = None
    top: Annotated[int, Field(ge=1)] = 10
    per_group: Annotated[int, Field(ge=1)] = 2
    strengths: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = (0.5,)
    seeds: Annotated[int, Field(ge=1)] | None = 3
    permutations: Annotated[int, Field(ge=19)] = 200
    fdr: Annotated[float, Field(gt=0, lt=1)] = 0.05

    @field_validator("at", "tokens", "vocabulary", "concepts", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("strengths")
    @classmethod
    def _differ(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if 0.0 in value or len(set(value)) < len(value):
            raise ValueError("strengths differ, and none is 0")
        return value

    @classmethod
    def suggested(cls, pathways: Sequence[Pathway]) -> dict[str, Any]:
        """Every block of every pathway; fewer tested concepts make it shorter."""
        return {"at": [f"{p.name}.*.resid_post" for p in pathways], "top": 10, "strengths": [0.5]}

    def parts(self, name: str, scope: Scope) -> Parts:
        """One analysis of the baseline, then its edits."""
        known = load_vocabulary(*self.vocabulary)
        known.among(self.concepts)
        if len(scope.tasks) * len(scope.seeds) < 2:
            raise StudyFileError("concepts need two episodes or more; add tasks or seeds")
        search = f"{name}_search"
        shared = self.model_dump(mode="json", exclude={"strengths", "seeds"})
        arms = dict(self._arms(name, search, scope.seeds[: self.seeds]))
        return Parts(
            arms=arms,
            analyses={search: {"kind": "concepts", "arms": [scope.baseline], **shared}},
        )

    def section(self, reading: Reading) -> Section:
        """The overview, then what each tested concept's edits did."""
        from vlascope_probes.concepts.section import concept_section

        return concept_section(self, reading)

    def quantities(self, reading: Reading) -> tuple[Quantity, ...]:
        """How many concepts there are, and what taking them away does."""
        from vlascope_probes.concepts.concept_quantities import concept_quantities

        return concept_quantities(self, reading)

    def edits(self) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """(part of the arm's name, key of the edit, words, fields) of each edit of a concept."""
        yield "ablate", "ablate", "taken away", {}
        for strength in self.strengths:
            size = f"{abs(strength):g}".replace(".", "_")
            part = f"steer_{'minus' if strength < 0 else ''}{size}"
            yield part, "steer", f"added, {strength:+g} ||x||", {"strength": strength}

    def _arms(self, name: str, search: str, seeds: tuple[int, ...]) -> Iterator[tuple[str, Arm]]:
        for rank in range(1, self.top + 1):
            for part, key, words, fields in self.edits():
                arm = f"{name}_{part}_{rank}"
                edit = _edit(search, f"{key}_{rank}", fields)
                matched = f"{arm}_matched" if self.encoder is not None else None
                controls = Controls(identity="auto", random_direction="auto", matched=matched)
                about = f"concept {rank} of {search}: {words}"
                yield arm, Arm(about=about, interventions=(edit,), controls=controls, seeds=seeds)
                if matched is not None:
                    other = _edit(search, f"{key}_{rank}_matched", fields)
                    waived = Controls(waived=f"is itself the matched control of {arm}")
                    about = f"a feature that fires as often: {words}"
                    yield (
                        matched,
                        Arm(about=about, interventions=(other,), controls=waived, seeds=seeds),
                    )


def _edit(search: str, key: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    more = {"with": dict(fields)} if fields else {}
    return {"kind": FROM_ANALYSIS, "analysis": search, "key": key, **more}
