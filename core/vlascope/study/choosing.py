"""A part of a study: the recipes that are to be played now, the others another time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vlascope.errors import unknown_name
from vlascope.study.design import Design
from vlascope.study.expansion import analysis_of, written_by
from vlascope.study.from_analysis import analyses_of
from vlascope.study.groups import WorkGroup
from vlascope.study.schema import Study
from vlascope.study.stopping import rule_of

__all__ = ["of_recipes", "was_begun"]


def of_recipes(laid_out: Design, recipes: Sequence[str]) -> Design:
    """The plain arm, the arms and analyses of these recipes, and what they need.

    Every episode is the one that the whole study has: what is left out can be played later, into
    the same directory.

    Args:
        laid_out: an expanded study's.
        recipes: by name.

    Raises:
        UnknownName: there is no such recipe.
    """
    study = laid_out.study
    arms, analyses = {study.baseline_arm}, set[str]()
    for name in recipes:
        if name not in study.recipes:
            raise unknown_name("question", name, study.recipes)
        written = written_by(study, name)
        arms |= set(written.arms)
        analyses |= set(written.analyses)
    arms |= {arm for name in analyses for arm in analysis_of(study, name).arms}
    arms |= {g.arm for g in laid_out.groups if _controls(g) in arms}
    arms |= {rule.against for arm in arms if (rule := rule_of(study, arm)) and rule.against}
    found = laid_out.only(sorted(arms & {g.arm for g in laid_out.groups}))
    for group in found.groups:
        analyses |= set(analyses_of(group.definition.interventions))
    kept = {name: written for name, written in study.analyses.items() if name in analyses}
    return replace(found, study=study.model_copy(update={"analyses": kept}))


def was_begun(study: Study, recipe: str, ended: Sequence[str]) -> bool:
    """Whether any arm or analysis that a recipe adds has ended; one that adds none was begun.

    Args:
        study: expanded.
        recipe: by name.
        ended: arms, and analyses as `analysis:NAME`.
    """
    written = written_by(study, recipe)
    own = {*written.arms, *(f"analysis:{name}" for name in written.analyses)}
    return not own or not own.isdisjoint(ended)


def _controls(group: WorkGroup) -> str | None:
    """The arm that a control was made for."""
    return group.arm.rpartition(".")[0] if group.role == "control" else None
