"""Concepts in numbers that policies are compared by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from vlascope.hooks import HookPoint
from vlascope.recipes.ablation_quantities import WORDS
from vlascope.recipes.ablation_verdicts import UNTOLD, Verdict, share, verdicts
from vlascope.statistics import Comparison, Estimate
from vlascope.study.findings import paired
from vlascope.study.quantity import Quantity
from vlascope_probes.concepts.validation import Chosen

if TYPE_CHECKING:
    from vlascope.study.recipe import Reading
    from vlascope_probes.concepts.recipe import ConceptRecipe

__all__ = ["concept_quantities"]

ALPHA: Final = 0.05
_COUNTS: Final = {
    "judged": "concepts judged",
    "found": "concepts found",
    "in_other_tasks": "concepts found, above chance in other tasks",
}


def concept_quantities(recipe: ConceptRecipe, reading: Reading) -> tuple[Quantity, ...]:
    """Counts by pathway, and rates of verdicts over the concepts that were edited.

    Keys: `concepts.judged`, `concepts.found` and `concepts.in_other_tasks` by pathway (counts after
    the correction for false discoveries, without an interval, as concepts are no sample); over all
    tested concepts, and by the pathway they were edited in, `concepts.ablation.zero_effect` and
    `.destroyed`, the same of every `steer_...`, by the rule of layer ablations.
    """
    result = reading.analyses.get(f"{reading.name}_search")
    if result is None:
        return ()
    chosen = [Chosen.model_validate(c) for c in result.data["chosen"]]
    found = list(_counts(result.data.get("found", {}), recipe))
    if not chosen:
        why = "no concept stood against the null, so none was edited"
        names = ("zero_effect", "destroyed")
        return (*found, *(_none(f"concepts.ablation.{name}", why) for name in names))
    for part, _, _, _ in recipe.edits():
        found += _rates(reading, part, chosen)
    return tuple(found)


def _counts(counted: Mapping[str, Mapping[str, int]], recipe: ConceptRecipe) -> Iterator[Quantity]:
    for pathway, numbers in counted.items():
        judged = numbers["judged"]
        for name, label in _COUNTS.items():
            if name in numbers:
                method = f"count, false discovery rate {recipe.fdr:g}"
                value = Estimate(
                    value=float(numbers[name]), low=None, high=None, n=judged, method=method
                )
                key = f"concepts.{name}"
                yield Quantity(key=key, label=label, value=value, unit="1", pathway=pathway,
                               bounds=(0.0, None))  # fmt: skip


def _rates(reading: Reading, part: str, chosen: Sequence[Chosen]) -> Iterator[Quantity]:
    arms = {f"{reading.name}_{part}_{c.rank}": HookPoint.parse(c.at).pathway for c in chosen}
    compared = {arm: found for arm in arms if (found := _lost(reading, arm)) is not None}
    told: list[Verdict] = verdicts(list(compared.values()), ALPHA)
    judged: dict[str, Verdict] = dict(zip(compared, told, strict=True))
    what = "ablation" if part == "ablate" else part
    if not judged:
        yield _none(f"concepts.{what}.zero_effect", "not played")
        yield _none(f"concepts.{what}.destroyed", "not played")
        return
    pathways = list(dict.fromkeys(arms[a] for a in judged))
    for pathway in ("", *(pathways if len(pathways) > 1 else ())):
        mine: list[tuple[Verdict, Comparison]] = [
            (v, compared[arm]) for arm, v in judged.items() if pathway in ("", arms[arm])
        ]
        for word, verdict in WORDS.items():
            value = share(verdict, mine)
            yield Quantity(
                key=f"concepts.{what}.{word}",
                label=f"concepts edited ({what.replace('_', ' ')}): {word.replace('_', ' ')}",
                value=value,
                pathway=pathway,
                why_not=UNTOLD if value is None else "",
            )


def _lost(reading: Reading, arm: str) -> Comparison | None:
    """Success minus the baseline's; None where nothing was played."""
    measuring, policy = reading.measuring, reading.policy
    if not any(e.ok for e in measuring.episodes.of(policy, arm)):
        return None
    values = measuring.values(policy, arm, "success")
    baseline = measuring.values(policy, measuring.design.study.baseline_arm, "success")
    return paired("success", values, baseline)


def _none(key: str, why: str) -> Quantity:
    return Quantity(
        key=key, label=key.rpartition(".")[2].replace("_", " "), value=None, why_not=why
    )
