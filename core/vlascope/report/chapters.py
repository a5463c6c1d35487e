"""The chapters that recipes and analyses write, one per policy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vlascope.errors import VlascopeError
from vlascope.sections import Section
from vlascope.study.analysing import read_results
from vlascope.study.analysis import AnalysisResult
from vlascope.study.expansion import recipe_of
from vlascope.study.measuring import Measuring
from vlascope.study.recipe import Reading

__all__ = ["chapter", "chapters", "of_a_recipe"]


def chapters(run_dir: Path, measuring: Measuring) -> tuple[Section, ...]:
    """Recipes in the study's order, then analyses that no recipe asked for; policy by policy."""
    found = []
    for policy in measuring.design.study.policies:
        results = read_results(run_dir / policy, measuring.design.study)
        found += [
            chapter(Reading(name, policy, measuring, results))
            for name in measuring.design.study.recipes
        ]
        for name, result in results.items():
            if not of_a_recipe(name, measuring.design.study.recipes):
                found.append(_plain(name, policy, result))
    return tuple(found)


def of_a_recipe(name: str, recipes: Iterable[str]) -> bool:
    """Whether an arm, analysis or finding of that name was written by a recipe."""
    return any(name == recipe or name.startswith(f"{recipe}_") for recipe in recipes)


def chapter(reading: Reading) -> Section:
    """A recipe's section; where it cannot be made, why."""
    recipe = recipe_of(reading.measuring.design.study, reading.name)
    try:
        return recipe.section(reading)
    except VlascopeError as error:
        return Section(
            name=reading.name,
            title=recipe.title,
            policy=reading.policy,
            unresolved=(f"This chapter could not be written: {error}",),
        )


def _plain(name: str, policy: str, result: AnalysisResult) -> Section:
    return Section(
        name=name,
        title=name.replace("_", " ").capitalize(),
        policy=policy,
        sentences=result.sentences,
        blocks=result.blocks,
        unresolved=result.unresolved,
    )
