"""From an entry of a comparison to an ordinary study of one policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from vlascope import plugins
from vlascope.comparison.prompt_lengths import lengths_differ
from vlascope.comparison.schema import ComparisonFile, Defaults
from vlascope.errors import StudyFileError, UnknownName, VlascopeError
from vlascope.report.chapters import of_a_recipe
from vlascope.study.checking import problems_of
from vlascope.study.choosing import of_recipes
from vlascope.study.design import Design, design
from vlascope.study.expansion import BASELINE, Unfit, analysis_of, expanded
from vlascope.study.groups import WorkGroup
from vlascope.study.placing import placed
from vlascope.study.schema import Arm, Study
from vlascope.study.tasks import known_tasks, matching

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter
    from vlascope.hooks import Pathway

__all__ = ["OPTIONS_OF_A_STUDY", "Asked", "asked", "bare_study", "options"]

OPTIONS_OF_A_STUDY: Final = frozenset(Defaults.model_fields)


@dataclass(frozen=True)
class Asked:
    """An entry's study.

    Attributes:
        study: expanded and checked, with the questions that can be asked of this policy.
        not_applicable: why a question is not among them, by question.
        now: the questions that are to be played now; None for all of them.
    """

    study: Study
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    now: tuple[str, ...] | None = None

    def only(self, questions: Sequence[str]) -> Asked:
        """The same study, of which those questions that can be asked are played now."""
        return replace(self, now=tuple(q for q in self.study.recipes if q in questions))

    @property
    def episodes(self) -> int:
        """At most as many are played now; arms that say the same are played once."""
        return sum(len(group.plans) for group in self._groups)

    @property
    def arms(self) -> int:
        """How many are played now, controls counted and recordings not."""
        return sum(group.role != "source" for group in self._groups)

    @cached_property
    def _groups(self) -> tuple[WorkGroup, ...]:
        laid_out = design(self.study)
        if self.now is None:
            return laid_out.groups
        return of_recipes(laid_out, self.now).groups if self.now else ()


def bare_study(file: ComparisonFile, name: str) -> Study:
    """An entry's study without any question: the policy as it is."""
    return _study(file, name, {})


def options(
    file: ComparisonFile,
    name: str,
    question: str,
    pathways: tuple[Pathway, ...],
    *,
    uneven: bool = False,
) -> dict[str, Any] | None:
    """What an entry is asked: the recipe's own suggestion, then the battery's, then the entry's.

    Args:
        file: checked.
        name: the entry.
        question: of the battery.
        pathways: the policy's.
        uneven: whether the policy's token counts depend on what it is told.

    Returns:
        A recipe as a study file writes it; None where the entry leaves the question out.
    """
    own = file.entries[name].battery.get(question, {})
    if own is None:
        return None
    general = file.battery[question]
    recipe = plugins.recipe_class(str(general["kind"]))
    suggested = recipe.suggested(pathways)
    if uneven:
        suggested = {**suggested, **recipe.suggested_for_uneven_prompts()}
    return {"kind": general["kind"], **suggested, **general, **own}


def asked(file: ComparisonFile, name: str, adapter: VLAAdapter) -> Asked:
    """The study of an entry, without the questions that it cannot answer.

    Raises:
        StudyFileError: the questions do not fit together.
    """
    recipes: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    uneven = lengths_differ(adapter, _prompts(bare_study(file, name)))
    for question in file.battery:
        written = options(file, name, question, adapter.info.pathways, uneven=uneven)
        if written is None:
            missing[question] = "left out for this entry"
            continue
        why = _why_not(file, name, question, written, adapter)
        if why:
            missing[question] = why
        else:
            recipes[question] = written
    study = expanded(_study(file, name, recipes))
    found = problems_of(study)
    if found:
        raise Unfit(found)
    return Asked(study, missing)


def _study(file: ComparisonFile, name: str, recipes: Mapping[str, Mapping[str, Any]]) -> Study:
    entry = file.entries[name]
    given = {**file.defaults.given(), **entry.given()}
    return Study.model_validate(
        {
            "name": f"{file.name}-{name}",
            "title": f"{file.title or file.name}: {entry.title or name}",
            "policies": {name: entry.policy},
            "recipes": recipes,
            "arms": {BASELINE: Arm(about="the policy as it is")},
            **given,
        }
    )


def _prompts(study: Study) -> tuple[str, ...]:
    """The instructions of its tasks, and none."""
    known = known_tasks(study.benchmark.name)
    return ("", *(known[t].instruction for t in matching(study.benchmark.name, study.tasks)))


def _why_not(
    file: ComparisonFile,
    name: str,
    question: str,
    written: Mapping[str, Any],
    adapter: VLAAdapter,
) -> str:
    """Why this policy, on these tasks, cannot be asked; empty where it can."""
    try:
        study = expanded(_study(file, name, {question: written}))
        found = problems_of(study)
        if found:
            raise StudyFileError("; ".join(dict.fromkeys(p.message for p in found)))
        for analysis in study.analyses:
            analysis_of(study, analysis).check(adapter.info)
        return _no_place(design(study), question, adapter)
    except (VlascopeError, ValidationError) as error:
        return str(error)


def _no_place(laid_out: Design, question: str, adapter: VLAAdapter) -> str:
    """Why none of a question's edits, or not the plain arm, has a place in the policy."""
    refused: dict[str, str] = {}
    edited: list[str] = []
    for group in laid_out.groups:
        try:
            placed(group, adapter)
        except UnknownName as error:
            refused[group.arm] = str(error)
        if group.definition.interventions and of_a_recipe(group.arm, [question]):
            edited.append(group.arm)
    if laid_out.study.baseline_arm in refused:
        return refused[laid_out.study.baseline_arm]
    if edited and all(arm in refused for arm in edited):
        return "; ".join(dict.fromkeys(refused[arm] for arm in edited))
    return ""
