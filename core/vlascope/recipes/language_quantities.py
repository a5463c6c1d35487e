"""Language in numbers that policies are compared by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vlascope.counterfactuals.sensitivity import Interaction
from vlascope.counterfactuals.structure import SHARED, UNIQUE
from vlascope.recipes.language_section import Heard, Judged, followed, heard
from vlascope.study.metrics import METRICS, Metric
from vlascope.study.quantity import Quantity, of_difference

if TYPE_CHECKING:
    from vlascope.recipes.language import Language
    from vlascope.study.recipe import Reading

__all__ = ["language_quantities"]

OWN = "own prompt"


def language_quantities(recipe: Language, reading: Reading) -> tuple[Quantity, ...]:
    """Success under every instruction, effects by structure, interactions, and prompts followed.

    Keys: `language.success.own.shared`, `language.success.null.shared`,
    `language.effect.null.shared`, `language.interaction.null`, `language.source_goal` and its
    `.effect`; another metric than success stands in the keys (`language.displacement.effect...`).
    """
    found = heard(recipe, reading)
    metric = METRICS[recipe.metric]
    quantities = [
        Quantity(
            key=f"language.{recipe.metric}.own.{structure}",
            label=f"{metric.label}, own prompt, {structure} scenes",
            value=found.own.get(structure),
            unit=metric.unit,
            bounds=metric.bounds,
            why_not="" if structure in found.structure else _no_scene(structure),
        )
        for structure in (SHARED, UNIQUE)
    ]
    for judged in found.judged:
        variant = judged.found.variant.removeprefix(f"{reading.name}_")
        quantities += _of_variant(recipe, found, judged, variant)
    return (*quantities, *_source_goal(reading, found))


def _of_variant(recipe: Language, found: Heard, judged: Judged, variant: str) -> Iterator[Quantity]:
    metric, words = METRICS[recipe.metric], variant.replace("_", " ")
    prefix = "language" if recipe.metric == "success" else f"language.{recipe.metric}"
    for structure in (SHARED, UNIQUE):
        key, label = f"{prefix}.effect.{variant}.{structure}", f"{words}, {structure} scenes"
        effect = judged.found.effects.get(structure)
        if effect is None:
            here = structure in found.structure
            why = f"no task of {structure} scenes allows it" if here else _no_scene(structure)
            yield Quantity(key=key, label=label, value=None, signed=True, why_not=why)
            continue
        yield Quantity(
            key=f"language.{recipe.metric}.{variant}.{structure}",
            label=f"{metric.label}, {label}",
            value=found.rates[judged.found.variant, structure],
            unit=metric.unit,
            bounds=metric.bounds,
        )
        made = Quantity.of(key, label, effect, against=OWN, unit=metric.unit, bounds=metric.bounds)
        yield made.model_copy(update={"p": judged.effect_p[structure]})
    yield _interaction(f"{prefix}.interaction.{variant}", words, judged, metric)


def _interaction(key: str, words: str, judged: Judged, metric: Metric) -> Quantity:
    found: Interaction | None = judged.found.interaction
    label = f"{words}: effect in shared minus unique scenes"
    if found is None:
        missing = next(s for s in (SHARED, UNIQUE) if s not in judged.found.effects)
        why = f"not played in {missing} scenes"
        return Quantity(key=key, label=label, value=None, signed=True, why_not=why)
    return Quantity(
        key=key,
        label=label,
        value=found.difference,
        unit=metric.unit,
        bounds=of_difference(of_difference(metric.within)),
        signed=True,
        against="the effect in unique scenes",
        p=judged.interaction_p,
        detectable=found.detectable,
    )


def _source_goal(reading: Reading, found: Heard) -> list[Quantity]:
    """Whether another task's prompt is followed, where tasks share a scene."""
    key, label = "language.source_goal", "told another task of its scene: that goal reached"
    arm = f"{reading.name}_source_prompt"
    if arm not in found.played:
        why = "not played" if arm in found.arms else "no two tasks share a scene, or not asked for"
        return [Quantity(key=key, label=label, value=None, why_not=why)]
    reached, compared = followed(reading, arm)
    effect = Quantity.of(f"{key}.effect", f"{label}, beside own prompt", compared, against=OWN)
    return [Quantity(key=key, label=label, value=reached), effect]


def _no_scene(structure: str) -> str:
    return f"no task of a {structure} scene"
