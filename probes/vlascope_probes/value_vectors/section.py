"""The report's chapter on value vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from vlascope.sections import Cell, Section, Table
from vlascope.statistics import Comparison, Estimate, Pair, compare
from vlascope.study.findings import estimate
from vlascope.study.metrics import METRICS as KNOWN

if TYPE_CHECKING:
    from vlascope.study.recipe import Reading
    from vlascope_probes.value_vectors.recipe import ValueVectorRecipe

__all__ = ["value_vector_section"]

Values = Mapping[tuple[str, int], float | None]
_MEASURED = ("success", "hand_speed", "hand_height")


@dataclass(frozen=True)
class _View:
    """What the chapter reads of one policy."""

    recipe: ValueVectorRecipe
    reading: Reading

    @property
    def name(self) -> str:
        return self.reading.name

    @property
    def baseline(self) -> str:
        return self.reading.measuring.design.study.baseline_arm

    def values(self, arm: str, metric: str) -> Values:
        return self.reading.measuring.values(self.reading.policy, arm, metric)

    def random(self, concept: str, metric: str) -> Values:
        """The mean over random sets, cell by cell; None where one of them is missing."""
        arms = [self.values(arm, metric) for arm in self.recipe.random(self.name, concept)]
        cells = {cell: [values.get(cell) for values in arms] for cell in arms[0]}
        means: dict[tuple[str, int], float | None] = {}
        for cell, found in cells.items():
            known = [value for value in found if value is not None]
            means[cell] = sum(known) / len(known) if len(known) == len(found) else None
        return means


def value_vector_section(recipe: ValueVectorRecipe, reading: Reading) -> Section:
    """Arms, held against random neurons and prompting, and opposites against each other.

    Sentences tell what holding did to the hand's speed; the table has every measure.
    """
    view = _View(recipe, reading)
    result = reading.analyses.get(f"{reading.name}_words")
    comparisons = list(_comparisons(view))
    told = [c for c in comparisons if c.metric == "hand_speed" and c.found.difference.resolved]
    return Section(
        name=reading.name,
        title=recipe.title,
        policy=reading.policy,
        sentences=(*(result.sentences if result else ()), *map(_sentence, told)),
        blocks=(_arms(view), _differences(comparisons), *(result.blocks if result else ())),
        unresolved=(*(result.unresolved if result else ()), *_unresolved(view, comparisons)),
    )


@dataclass(frozen=True)
class _Compared:
    """Arm minus another, on the same episodes."""

    arm: str
    other: str
    metric: str
    found: Comparison
    base: float | None


def _comparisons(view: _View) -> list[_Compared]:
    """Opposites at every value and depth, then each held arm against random neurons and words."""
    found: list[_Compared] = []
    held = view.recipe.held(view.name)
    for metric in _MEASURED:
        for first, second in pairwise(view.recipe.concepts):
            twins = {key[1:]: arm for arm, key in held.items() if key[0] == second}
            for arm, (concept, *where) in held.items():
                if concept == first:
                    other = twins[tuple(where)]  # type: ignore[index]
                    found.append(_compare(view, metric, arm, other, view.values(other, metric)))
        for arm, (concept, _, value) in held.items():
            if value == view.recipe.middle:
                random = view.random(concept, metric)
                found.append(_compare(view, metric, arm, "random neurons", random))
            asked = view.recipe.prompted(view.name, concept)
            if asked is not None and value == view.recipe.middle:
                found.append(_compare(view, metric, arm, asked, view.values(asked, metric)))
    return [compared for compared in found if compared.found.difference.n]


def _compare(view: _View, metric: str, arm: str, other: str, theirs: Values) -> _Compared:
    mine = view.values(arm, metric)
    pairs = [Pair(cell[0], mine[cell], theirs.get(cell)) for cell in mine if cell in theirs]
    mixed = metric == "success" and other == "random neurons"
    found = compare(pairs, binary=KNOWN[metric].binary and not mixed)
    return _Compared(
        arm, other, metric, found, estimate(metric, view.values(view.baseline, metric)).value
    )


def _arms(view: _View) -> Table:
    name, recipe = view.name, view.recipe
    arms = [view.baseline, f"{name}_hooked"]
    for concept in recipe.concepts:
        arms += [arm for arm in (recipe.prompted(name, concept),) if arm is not None]
        arms += [arm for arm, key in recipe.held(name).items() if key[0] == concept]
        arms += recipe.random(name, concept)
    return Table(
        title="Held, and not",
        caption="Means over whole episodes; an episode ends at success. Random neurons: as many "
        "in each layer, held so that together they write a vector of equal norm.",
        columns=("arm", *(KNOWN[metric].label for metric in _MEASURED)),
        rows=tuple(
            (
                f"`{arm}`",
                *(
                    _cell(metric, estimate(metric, view.values(arm, metric)))
                    for metric in _MEASURED
                ),
            )
            for arm in arms
        ),
    )


def _cell(metric: str, found: Estimate, *, signed: bool = False) -> Cell:
    return Cell(estimate=found, unit=KNOWN[metric].unit, signed=signed)


def _differences(comparisons: Sequence[_Compared]) -> Table:
    return Table(
        title="Against random neurons, prompting, and the opposite word",
        caption="Paired by task and seed. p is not corrected for the number of rows; detectable: "
        "the smallest true difference found with 80% power.",
        columns=("arm", "minus", "measure", "difference", "p", "detectable"),
        rows=tuple(
            (
                f"`{c.arm}`",
                c.other if c.other == "random neurons" else f"`{c.other}`",
                KNOWN[c.metric].label,
                _cell(c.metric, c.found.difference, signed=True),
                c.found.p,
                c.found.detectable,
            )
            for c in comparisons
        ),
        folded=len(comparisons) > 24,
    )


def _sentence(compared: _Compared) -> str:
    difference, unit = compared.found.difference, KNOWN[compared.metric].unit
    share = ""
    if compared.base and compared.metric != "success" and difference.value is not None:
        share = f", {difference.value / compared.base:+.0%} of the plain policy's"
    low, high = (float("nan") if v is None else v for v in (difference.low, difference.high))
    return (
        f"`{compared.arm}`: {KNOWN[compared.metric].label} differs from that of {compared.other} "
        f"({difference.value or 0:+.3g} {unit}, 95 % interval {low:+.3g} to {high:+.3g}, "
        f"n = {difference.n}{share})."
    )


def _unresolved(view: _View, comparisons: Sequence[_Compared]) -> tuple[str, ...]:
    lines = [
        f"{view.recipe.draws} sets of random neurons stand for all of them.",
        "Episodes end at success, so that a mean over an episode also changes with its length.",
    ]
    speed = [c.found.detectable for c in comparisons if c.metric == "hand_speed"]
    known = [value for value in speed if value is not None]
    if known:
        lines.append(f"Differences of speed below {min(known):.2g} mm/step are not seen here.")
    if not view.recipe.prompts:
        lines.append("Nobody asked for the same in words: holding is not set against prompting.")
    return tuple(lines)
