"""From a study with recipes to one that says every arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from vlascope import plugins
from vlascope.errors import StudyFileError, VlascopeError
from vlascope.study.analysis import Analysis
from vlascope.study.problems import Problem
from vlascope.study.recipe import Parts, Recipe, Scope
from vlascope.study.schema import Arm, Study
from vlascope.study.tasks import known_tasks, matching

__all__ = ["Unfit", "analysis_of", "expanded", "recipe_of", "written_by"]

BASELINE = "baseline"


class Unfit(StudyFileError):
    """Recipes or analyses that cannot be read; `problems` says where."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(p.message for p in problems))
        self.problems = problems


def expanded(study: Study) -> Study:
    """The study with the arms, analyses and findings of its recipes among its own.

    What analyses read is recorded by the arms they name.

    Raises:
        Unfit: a recipe or analysis is unknown or its options do not fit.
    """
    if study.expanded:
        return study
    whole = study.model_dump()
    arms: dict[str, Any] = whole["arms"] or {BASELINE: Arm(about="the policy as it is")}
    whole |= {"arms": arms, "baseline": study.baseline or next(iter(arms)), "expanded": True}
    for name in study.recipes:
        _merge(whole, name, written_by(study, name, whole["baseline"]))
    for name, analysis in _analyses(whole["analyses"]).items():
        for arm, globs in analysis.recordings().items():
            _record(whole, name, arm, globs)
    return Study.model_validate(whole)


def recipe_of(study: Study, name: str) -> Recipe:
    """The recipe of that name, its options checked.

    Raises:
        Unfit: there is no such kind, or an option does not fit.
    """
    return _read(("recipes", name), study.recipes[name], "recipe")


def written_by(study: Study, name: str, baseline: str = "") -> Parts:
    """What the recipe of that name adds to the study.

    Args:
        study: expanded or not.
        name: of one of its recipes.
        baseline: the plain arm; by default the study's.

    Raises:
        Unfit: the recipe is unknown, or its options do not fit the study.
    """
    known = known_tasks(study.benchmark.name)
    recipe = recipe_of(study, name)
    try:
        tasks = tuple(known[t] for t in matching(study.benchmark.name, study.tasks))
        chosen = study.benchmark
        scope = Scope(
            chosen.name,
            tasks,
            known,
            study.seeds,
            study.max_steps,
            baseline or study.baseline_arm,
            chosen.options,
        )
        return recipe.parts(name, scope)
    except VlascopeError as error:
        raise Unfit([Problem(("recipes", name), str(error))]) from None


def analysis_of(study: Study, name: str) -> Analysis:
    """The analysis of that name, its options checked.

    Raises:
        Unfit: there is no such kind, or an option does not fit.
    """
    return _read(("analyses", name), study.analyses[name], "analysis")


def _analyses(written: Mapping[str, Mapping[str, Any]]) -> dict[str, Analysis]:
    return {name: _read(("analyses", name), plain, "analysis") for name, plain in written.items()}


def _read(at: tuple[str | int, ...], written: Mapping[str, Any], what: str) -> Any:
    kind = written.get("kind")
    try:
        load = plugins.recipe_class if what == "recipe" else plugins.analysis_class
        known = plugins.recipes() if what == "recipe" else plugins.analyses()
        if not isinstance(kind, str):
            raise StudyFileError(f"a {what} needs `kind`, one of {sorted(known)}")
        return load(kind).model_validate(written)
    except ValidationError as error:
        raise Unfit(
            [Problem((*at, *e["loc"]), f"{kind}: {e['msg']}") for e in error.errors()]
        ) from None
    except VlascopeError as error:
        raise Unfit([Problem((*at, "kind"), str(error))]) from None


def _merge(whole: dict[str, Any], name: str, parts: Parts) -> None:
    for field in ("arms", "pairings", "groups", "findings", "analyses"):
        held: dict[str, Any] = whole[field]
        for key, value in getattr(parts, field).items():
            if not (key == name or key.startswith(f"{name}_")):
                raise Unfit([Problem(("recipes", name), f"{key!r} must begin with {name}_")])
            if key in held:
                raise Unfit([Problem(("recipes", name), f"{field} has a {key!r} already")])
            held[key] = value


def _record(whole: dict[str, Any], analysis: str, arm: str, globs: tuple[str, ...]) -> None:
    if arm not in whole["arms"]:
        raise Unfit([Problem(("analyses", analysis), f"it records arm {arm!r}: there is none")])
    held = Arm.model_validate(whole["arms"][arm])
    record = tuple(dict.fromkeys((*held.record, *globs)))
    whole["arms"][arm] = held.model_copy(update={"record": record})
