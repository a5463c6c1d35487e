"""When does language matter? Counterfactual instructions, by what the picture leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator

from vlascope.benchmark import Task
from vlascope.counterfactuals import VARIANTS, Variant, by_structure, can_vary, scene_partners
from vlascope.errors import StudyFileError
from vlascope.sections import Section
from vlascope.study.recipe import Parts, Reading, Recipe, Scope
from vlascope.study.schema import Arm, Prompt

if TYPE_CHECKING:
    from vlascope.study.quantity import Quantity

__all__ = ["KINDS", "Kind", "Language"]

Kind = Literal[Variant, "source_prompt"]
KINDS: tuple[Kind, ...] = (*get_args(Variant), "source_prompt")

_ABOUT: dict[str, str] = {
    **dict(VARIANTS.items()),
    "source_prompt": "the next task of the same scene, whose goal is watched",
}


class Language(Recipe):
    """Counterfactual instructions; sensitivity by task structure as an interaction effect.

    Attributes:
        variants: kinds to play; by default every kind that at least one task allows.
        paraphrases: which paraphrases the kind `paraphrase` stands for, an arm each.
        seed: of the choice of wrong tasks and nonsense words.
        scenes: a task's scene is shared if another of these has it: the `study`'s tasks, or all of
            the `benchmark`'s.
        metric: what counts; a metric that needs no source.
        alpha: level at which effects count as found, after Holm's adjustment over all variants.
    """

    kind: ClassVar[str] = "language"
    title: ClassVar[str] = "When does language matter?"

    variants: Annotated[tuple[Kind, ...], Field(min_length=1)] | None = None
    paraphrases: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1,)
    seed: Annotated[int, Field(ge=0)] = 0
    scenes: Literal["study", "benchmark"] = "study"
    metric: Literal["success", "own_goal", "displacement", "action_cosine"] = "success"
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05

    @field_validator("variants", mode="before")
    @classmethod
    def _yaml_reads_null_as_nothing(cls, value: Any) -> Any:
        return ["null" if v is None else v for v in value] if isinstance(value, list) else value

    def parts(self, name: str, scope: Scope) -> Parts:
        """An arm per variant, over the tasks whose metadata allow it."""
        arms: dict[str, Arm] = {}
        pairings: dict[str, dict[str, str]] = {}
        for kind in self.variants or KINDS:
            if kind == "source_prompt":
                made = self._source_prompt(name, scope)
                pairings |= {f"{name}_source": scene_partners(scope.tasks)} if made else {}
            elif kind == "paraphrase":
                made = self._paraphrases(name, scope)
            else:
                made = self._variant(name, scope, kind)
            if not made and self.variants:
                raise StudyFileError(f"no task allows {kind!r}: {_why_not(scope, kind)}")
            arms |= made
        groups = {
            f"{name}_{structure}": tasks
            for structure, tasks in self.structure(scope.tasks, scope.known.values()).items()
        }
        return Parts(arms=arms, pairings=pairings, groups=groups)

    def section(self, reading: Reading) -> Section:
        """Variants by structure, their interaction, and whether each change arrived."""
        from vlascope.recipes.language_section import language_section

        return language_section(self, reading)

    def quantities(self, reading: Reading) -> tuple[Quantity, ...]:
        """Success, effects and interactions by variant and task structure."""
        from vlascope.recipes.language_quantities import language_quantities

        return language_quantities(self, reading)

    def structure(self, tasks: tuple[Task, ...], known: Any) -> dict[str, tuple[str, ...]]:
        """Task names in `shared` and in `unique` scenes."""
        return by_structure(tasks, tuple(known) if self.scenes == "benchmark" else ())

    def _variant(self, name: str, scope: Scope, kind: Variant) -> dict[str, Arm]:
        return _arm(f"{name}_{kind}", scope, kind, Prompt(variant=kind, seed=self.seed))

    def _paraphrases(self, name: str, scope: Scope) -> dict[str, Arm]:
        found: dict[str, Arm] = {}
        for k in self.paraphrases:
            arm = f"{name}_paraphrase" + (f"_{k}" if len(self.paraphrases) > 1 else "")
            found |= _arm(arm, scope, "paraphrase", Prompt(paraphrase=k), k)
        return found

    def _source_prompt(self, name: str, scope: Scope) -> dict[str, Arm]:
        partners = scene_partners(scope.tasks)
        if not partners:
            return {}
        prompt = Prompt(task=f"{name}_source")
        about = _ABOUT["source_prompt"]
        return {f"{name}_source_prompt": Arm(about=about, prompt=prompt, tasks=tuple(partners))}


def _arm(name: str, scope: Scope, kind: Variant, prompt: Prompt, k: int = 1) -> dict[str, Arm]:
    """The arm over the tasks that allow it; empty where none does."""
    among = tuple(scope.known.values())
    tasks = tuple(t.name for t in scope.tasks if can_vary(t, among, kind, k=k) is None)
    return {name: Arm(about=_ABOUT[kind], prompt=prompt, tasks=tasks)} if tasks else {}


def _why_not(scope: Scope, kind: Kind) -> str:
    if kind == "source_prompt":
        return "no two of the study's tasks share a scene and differ in their instruction"
    return can_vary(scope.tasks[0], tuple(scope.known.values()), kind) or "no such paraphrase"
