"""The report's chapter on language: variants by task structure, and whether each change arrived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlascope.counterfactuals.sensitivity import Sensitivity, sensitivity, told_apart
from vlascope.counterfactuals.structure import SHARED, UNIQUE
from vlascope.recipes.language_tables import effect_figure, effect_table, receipt_table
from vlascope.report.wording import amount, interval, p_value
from vlascope.sections import Block, Prose, Section
from vlascope.statistics import Comparison, Estimate, Pair, holm
from vlascope.study.findings import estimate, paired
from vlascope.study.measuring import Measuring
from vlascope.study.metrics import METRICS
from vlascope.study.recipe import Reading, Scope
from vlascope.study.tasks import known_tasks

if TYPE_CHECKING:
    from vlascope.recipes.language import Language

__all__ = ["Heard", "Judged", "followed", "heard", "judge", "language_section"]

HOW = (
    "Every variant is paired with the own prompt by task and seed. An effect counts as found where "
    "its p, adjusted (Holm) over all variants, is at most {alpha:g} and its interval leaves out "
    "zero. The interaction is the effect in shared scenes minus the effect in unique scenes; its p "
    "comes from permuting {unit} between the two. `paraphrase` is the control: the text changes, "
    "the meaning does not."
)


@dataclass(frozen=True)
class Judged:
    """One variant with its p-values adjusted over all variants.

    Attributes:
        effect_p: by structure.
        interaction_p: None where there is no interaction.
    """

    found: Sensitivity
    effect_p: Mapping[str, float | None]
    interaction_p: float | None


def judge(found: Sequence[Sensitivity]) -> list[Judged]:
    """Adjust over two families: all effects of all variants, and all interactions."""
    keys = [(i, structure) for i, s in enumerate(found) for structure in s.effects]
    effects = holm([found[i].effects[structure].p for i, structure in keys])
    by_key = dict(zip(keys, effects, strict=True))
    interactions = holm([s.interaction.p if s.interaction else None for s in found])
    return [
        Judged(s, {structure: by_key[i, structure] for structure in s.effects}, interactions[i])
        for i, s in enumerate(found)
    ]


@dataclass(frozen=True)
class Heard:
    """What was played of a language recipe, judged.

    Attributes:
        arms: planned, in order; `played` those with an episode.
        structure: the study's tasks by `shared` and `unique`.
        judged: one per played arm.
        own, rates: the metric under the own prompt by structure, and by (arm, structure).
    """

    arms: tuple[str, ...]
    played: tuple[str, ...]
    structure: Mapping[str, Sequence[str]]
    judged: tuple[Judged, ...]
    own: Mapping[str, Estimate]
    rates: Mapping[tuple[str, str], Estimate]


def heard(recipe: Language, reading: Reading) -> Heard:
    """Judge every arm that was played."""
    measuring = reading.measuring
    study = measuring.design.study
    known = known_tasks(study.benchmark.name)
    tasks = tuple(known[t] for t in measuring.design.tasks)
    baseline = study.baseline_arm
    scope = Scope(study.benchmark.name, tasks, known, study.seeds, study.max_steps, baseline)
    structure = recipe.structure(tasks, known.values())
    arms = tuple(recipe.parts(reading.name, scope).arms)
    played = tuple(a for a in arms if any(e.ok for e in measuring.episodes.of(reading.policy, a)))
    return Heard(
        arms=arms,
        played=played,
        structure=structure,
        judged=tuple(judge([_sensitivity(recipe, reading, a, structure) for a in played])),
        own={s: _rate(recipe, reading, baseline, t) for s, t in structure.items()},
        rates={(a, s): _rate(recipe, reading, a, t) for a in played for s, t in structure.items()},
    )


def language_section(recipe: Language, reading: Reading) -> Section:
    """Build the chapter from what was played."""
    measuring, name = reading.measuring, reading.name
    found = heard(recipe, reading)
    judged, played = found.judged, found.played
    unit = METRICS[recipe.metric].unit
    sentences, unresolved = _said(judged, recipe, unit)
    if f"{name}_source_prompt" in played:
        sentences.append(_followed(reading, f"{name}_source_prompt"))
    unresolved += [f"`{arm}` was not played." for arm in found.arms if arm not in played]
    unresolved += _one_sided(found.structure)
    permuted = next((j.found.interaction.unit for j in judged if j.found.interaction), "episodes")
    blocks: list[Block] = [Prose(text=HOW.format(alpha=recipe.alpha, unit=permuted))]
    if judged:
        tasks = len(measuring.design.tasks)
        blocks += [
            effect_table(judged, found.structure, found.rates, recipe.metric),
            effect_figure(judged, recipe.metric),
            receipt_table(measuring, reading.policy, played, tasks),
        ]
    return Section(
        name=name,
        title=recipe.title,
        policy=reading.policy,
        sentences=tuple(sentences),
        blocks=tuple(blocks),
        unresolved=tuple(unresolved),
    )


def _sensitivity(
    recipe: Language, reading: Reading, arm: str, structure: Mapping[str, Sequence[str]]
) -> Sensitivity:
    pairs = {s: _pairs(recipe, reading, arm, tasks) for s, tasks in structure.items()}
    pairs = {s: p for s, p in pairs.items() if p}
    return sensitivity(arm, pairs, binary=METRICS[recipe.metric].binary)


def _pairs(recipe: Language, reading: Reading, arm: str, tasks: Sequence[str]) -> list[Pair]:
    measuring, policy = reading.measuring, reading.policy
    told = measuring.values(policy, arm, recipe.metric, tasks)
    own = measuring.values(policy, _baseline(measuring), recipe.metric, tasks)
    return [Pair(cell[0], value, own[cell]) for cell, value in told.items() if cell in own]


def _rate(recipe: Language, reading: Reading, arm: str, tasks: Sequence[str]) -> Estimate:
    measuring = reading.measuring
    return estimate(recipe.metric, measuring.values(reading.policy, arm, recipe.metric, tasks))


def _baseline(measuring: Measuring) -> str:
    return measuring.design.study.baseline_arm


def _said(judged: Sequence[Judged], recipe: Language, unit: str) -> tuple[list[str], list[str]]:
    """What was found, and what these episodes cannot tell."""
    label = METRICS[recipe.metric].label
    found: list[str] = []
    open_: list[str] = []
    for j in judged:
        arm, interaction = j.found.variant, j.found.interaction
        if interaction is not None:
            difference = interval(interaction.difference, unit, signed=True)
            if told_apart(interaction.difference, j.interaction_p, recipe.alpha):
                found.append(
                    f"`{arm}` changes {label} differently in shared than in unique scenes: "
                    f"interaction {difference}, {p_value(j.interaction_p)} (adjusted)."
                )
            else:
                open_.append(
                    f"Interaction of `{arm}` with task structure: {difference}, not told apart "
                    f"from zero{_limit(interaction.detectable, unit)}."
                )
        for structure, effect in j.found.effects.items():
            said = _effect(arm, structure, effect, j.effect_p[structure], label, unit)
            if told_apart(effect.difference, j.effect_p[structure], recipe.alpha):
                found.append(said)
            else:
                open_.append(f"{said.rstrip('.')}{_limit(effect.detectable, unit)}.")
    return found, open_


def _effect(
    arm: str, structure: str, effect: Comparison, p: float | None, label: str, unit: str
) -> str:
    return (
        f"`{arm}` against the own prompt in {structure} scenes: {label} "
        f"{interval(effect.difference, unit, signed=True)}, {p_value(p)} (adjusted)."
    )


def _limit(detectable: float | None, unit: str) -> str:
    if detectable is None:
        return "; too few episodes to show any difference"
    return f"; cannot resolve differences below {amount(detectable, unit)}" if detectable else ""


def followed(reading: Reading, arm: str) -> tuple[Estimate, Comparison]:
    """How often the goal that the other prompt names was reached, and beside the own prompt."""
    measuring, policy = reading.measuring, reading.policy
    told = measuring.values(policy, arm, "source_goal")
    own = measuring.values(policy, _baseline(measuring), "source_goal", like=arm)
    compared = paired("source_goal", told, {c: v for c, v in own.items() if c in told})
    return estimate("source_goal", told), compared


def _followed(reading: Reading, arm: str) -> str:
    reached, compared = followed(reading, arm)
    return (
        "Told the next task of its scene, the policy reached that task's goal in "
        f"{interval(reached, 'share')}; against the own prompt "
        f"{interval(compared.difference, 'share', signed=True)}, {p_value(compared.p)}."
    )


def _one_sided(structure: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"No task of this study is of a {s} scene, so that nothing can be said of an interaction."
        for s in (SHARED, UNIQUE)
        if s not in structure
    ]
