"""The report's chapter on vision: heat maps, tables, and what cannot be told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlascope.recipes.vision_judging import Effect, Judged, judge
from vlascope.recipes.vision_maps import Map, heat_figure
from vlascope.recipes.vision_tables import Numbers, effect_table, receipt_table
from vlascope.report.wording import amount, bare, interval, p_value
from vlascope.sections import Block, Picture, Prose, Section
from vlascope.statistics import Estimate, Pair
from vlascope.study.findings import estimate
from vlascope.study.recipe import Reading

if TYPE_CHECKING:
    from vlascope.recipes.vision import Variation, Vision

__all__ = ["Chapter", "vision_section"]

HOW = (
    "Every arm is paired with the clean baseline by task and seed. Success is set against the "
    "clean baseline. A displacement is never negative, and any change of the picture moves a hand "
    "a little; it is set against `{control}`, noise too faint to matter. An effect counts as found "
    "where its p, adjusted (Holm) over the perturbations, or over the cells, is at most {alpha:g} "
    "and its interval leaves out zero; of displacements only what moves farther than the control. "
    "A covered cell shows what is needed of that place; it also puts a patch into the picture that "
    "the policy never saw in training."
)

_NAMED = 6
"""Arms without effect that a sentence names; the tables hold them all."""


@dataclass(frozen=True)
class Chapter:
    """The recipe's arms, as they were played."""

    recipe: Vision
    reading: Reading

    def arm(self, variation: Variation) -> str:
        """Its name in the study."""
        return f"{self.reading.name}_{variation.label}"

    @property
    def baseline(self) -> str:
        """The clean arm."""
        return self.reading.measuring.design.study.baseline_arm

    def played(self, variations: Sequence[Variation]) -> list[Variation]:
        """Those with an episode."""
        return [v for v in variations if self.episodes(self.arm(v))]

    def episodes(self, arm: str) -> int:
        """How many of an arm came to an end."""
        measuring = self.reading.measuring
        return sum(e.ok for e in measuring.episodes.of(self.reading.policy, arm))

    def judged(
        self, variations: Sequence[Variation], tasks: Sequence[str] | None = None
    ) -> list[Judged]:
        """The family of these arms, over all tasks or some."""
        arms = [self.arm(v) for v in variations]
        success = {a: self._pairs("success", a, self.baseline, tasks) for a in arms}
        control = self.arm(self.recipe.control())
        moved = {a: self._pairs("displacement", a, control, tasks) for a in arms}
        return judge(success, moved, self.recipe.alpha)

    def numbers(self, arms: Sequence[str]) -> Numbers:
        """Success and displacement by arm."""
        values, policy = self.reading.measuring.values, self.reading.policy
        found = {a: estimate("success", values(policy, a, "success")) for a in arms}
        moved = {a: estimate("displacement", values(policy, a, "displacement")) for a in arms}
        none = Estimate(value=None, low=None, high=None, n=0, method="is its own reference")
        return {a: (found[a], none if a == self.baseline else moved[a]) for a in arms}

    def _pairs(
        self, metric: str, arm: str, control: str, tasks: Sequence[str] | None
    ) -> list[Pair]:
        values, policy = self.reading.measuring.values, self.reading.policy
        mine, theirs = values(policy, arm, metric, tasks), values(policy, control, metric, tasks)
        return [Pair(cell[0], v, theirs[cell]) for cell, v in mine.items() if cell in theirs]


def vision_section(recipe: Vision, reading: Reading) -> Section:
    """Build the chapter from what was played."""
    chapter = Chapter(recipe, reading)
    control = recipe.control()
    variations, cells = recipe.variations(), recipe.cells()
    planned = [control, *variations, *cells]
    kept = [chapter.played(family) for family in (variations, cells)]
    judged = [chapter.judged(family) for family in kept]
    titles = ("Perturbations", "Cells of the occlusion grid")
    sentences: list[str] = []
    unresolved: list[str] = []
    for family, title in zip(judged, ("perturbation", "covered cell"), strict=True):
        found, open_ = _said(family, title, chapter.baseline, recipe.alpha)
        sentences += found
        unresolved += open_
    blocks: list[Block] = [
        Prose(text=HOW.format(control=chapter.arm(control), alpha=recipe.alpha)),
        *_heat(chapter, kept[1], judged[1]),
        *_sheet(reading),
    ]
    beside = [chapter.baseline, *(chapter.arm(v) for v in chapter.played([control]))]
    for title, family in zip(titles, judged, strict=True):
        if family:
            numbers = chapter.numbers([*beside, *(j.arm for j in family)])
            folded = title == titles[1]
            blocks.append(
                effect_table(title, family, numbers, baseline=chapter.baseline, folded=folded)
            )
    blocks.append(_receipts(chapter, chapter.played(planned)))
    missing = [f"`{chapter.arm(v)}`" for v in planned if v not in chapter.played(planned)]
    if missing:
        unresolved.append(f"Not played, or refused: {', '.join(missing)}.")
    return Section(
        name=reading.name,
        title=recipe.title,
        policy=reading.policy,
        sentences=tuple(sentences),
        blocks=tuple(blocks),
        unresolved=tuple(unresolved),
    )


def _heat(chapter: Chapter, cells: Sequence[Variation], judged: Sequence[Judged]) -> list[Block]:
    """One map of all tasks, and one each of the first few where there are several."""
    recipe, reading = chapter.recipe, chapter.reading
    if not cells or recipe.grid is None:
        return []
    looks = reading.analyses.get(f"{reading.name}_looks")
    pictures: Mapping[str, str] = looks.data["looks"] if looks else {}
    tasks = reading.measuring.design.tasks
    title = f"`{tasks[0]}`" if len(tasks) == 1 else f"all {len(tasks)} tasks"
    first = pictures.get(tasks[0])
    maps = [Map(title.strip("`"), _by_cell(cells, judged), first)]
    for task in tasks[: recipe.maps] if len(tasks) > 1 else ():
        of_task = _by_cell(cells, chapter.judged(cells, [task]))
        maps.append(Map(task, of_task, pictures.get(task)))
    camera = str(looks.data["camera"]) if looks else ", ".join(recipe.cameras)
    return [heat_figure(maps, recipe.grid, camera)]


def _by_cell(cells: Sequence[Variation], judged: Sequence[Judged]) -> dict[tuple[int, int], Judged]:
    return {v.cell: j for v, j in zip(cells, judged, strict=True) if v.cell is not None}


def _sheet(reading: Reading) -> list[Block]:
    looks = reading.analyses.get(f"{reading.name}_looks")
    if looks is None:
        return []
    return [
        Picture(
            title="What the policy was shown",
            caption=(
                "The first picture of the first task, as it is and under every perturbation. What "
                "freezes the first picture shows only later."
            ),
            uri=looks.data["sheet"],
            alt="a camera picture under each perturbation, with its name",
        )
    ]


def _receipts(chapter: Chapter, variations: Sequence[Variation]) -> Block:
    measuring, policy = chapter.reading.measuring, chapter.reading.policy
    found = {
        chapter.arm(v): [
            e.record.perturbed
            for e in measuring.episodes.of(policy, chapter.arm(v))
            if e.ok and e.record.perturbed is not None
        ]
        for v in variations
    }
    return receipt_table(found)


def _said(
    family: Sequence[Judged], what: str, baseline: str, alpha: float
) -> tuple[list[str], list[str]]:
    """Effects found, the strongest first, and one sentence per measure on all the others."""
    found: list[str] = []
    open_: list[str] = []
    if not family:
        return found, open_
    for measure, unit in (("success", "share"), ("displacement", "m")):
        against = f"`{baseline}`" if measure == "success" else "the control"
        effects = {j.arm: j.success if measure == "success" else j.moved for j in family}
        hits = [(arm, e) for arm, e in effects.items() if e.found]
        hits.sort(key=lambda hit: -abs(hit[1].comparison.difference.value or 0))
        found += [
            f"`{arm}` changes {measure} against {against} by "
            f"{interval(e.comparison.difference, unit, signed=True)}, {p_value(e.p)} (adjusted)."
            for arm, e in hits
        ]
        rest = {arm: e for arm, e in effects.items() if not e.found}
        if rest:
            open_.append(_limits(rest, len(family), what, measure, against, unit))
    return found, open_ + _too_few(family, what, alpha)


def _too_few(family: Sequence[Judged], what: str, alpha: float) -> list[str]:
    """Whether a change in every single pair would survive the adjustment: m 2^(1 - n) <= alpha."""
    n = max(j.success.comparison.difference.n for j in family)
    if n == 0 or len(family) * 0.5 ** (n - 1) <= alpha:
        return []
    needed = math.ceil(1 + math.log2(len(family) / alpha))
    return [
        f"With {len(family)} arms with a {what} and n = {n} pairs each, not even a change in every "
        f"pair survives the adjustment; {needed} pairs would do."
    ]


def _limits(
    rest: Mapping[str, Effect], of: int, what: str, measure: str, against: str, unit: str
) -> str:
    """How small an effect the others could have shown."""
    names = ", ".join(f"`{arm}`" for arm in [*rest][:_NAMED])
    if len(rest) > _NAMED:
        names += f" and {len(rest) - _NAMED} more"
    known = [e.comparison.detectable for e in rest.values() if e.comparison.detectable]
    pairs = {e.comparison.difference.n for e in rest.values()}
    n = f"n = {min(pairs)}" if len(pairs) == 1 else f"n = {min(pairs)} to {max(pairs)}"
    text = (
        f"{len(rest)} of {of} arms with a {what} are not told apart from {against} in {measure}, "
        f"at {n} pairs each"
    )
    if known and float(bare(max(known), unit)) > 0:
        text += f"; differences below {amount(max(known), unit)} cannot be resolved in all of them"
        text += " even before the adjustment"
    return f"{text}: {names}."
