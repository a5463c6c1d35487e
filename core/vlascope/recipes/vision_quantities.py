"""Vision in numbers that policies are compared by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vlascope.recipes.vision_judging import Judged
from vlascope.recipes.vision_section import Chapter
from vlascope.recipes.vision_tables import Numbers
from vlascope.statistics import rate
from vlascope.study.metrics import METRICS
from vlascope.study.quantity import Quantity

if TYPE_CHECKING:
    from vlascope.recipes.vision import Vision
    from vlascope.study.recipe import Reading

__all__ = ["vision_quantities"]

CLEAN, CONTROL = "clean pictures", "noise too faint to matter"


def vision_quantities(recipe: Vision, reading: Reading) -> tuple[Quantity, ...]:
    """Success and displacement under every perturbation, each beside its control.

    Keys: `vision.success.clean`, `vision.success.blur_050`, `vision.effect.blur_050` (against clean
    pictures), `vision.displacement.blur_050` with `.against.control`, and of the occlusion grid
    `vision.cells_that_matter`, the share of cells whose covering changes success. A cell by itself
    is a place in a picture, which other cameras do not share.
    """
    chapter = Chapter(recipe, reading)
    played = chapter.played(recipe.variations())
    judged = chapter.judged(played)
    arms = [chapter.arm(v) for v in played]
    numbers = chapter.numbers([chapter.baseline, *arms])
    clean = numbers[chapter.baseline][0]
    found = [Quantity(key="vision.success.clean", label=f"success, {CLEAN}", value=clean)]
    for variation, one in zip(played, judged, strict=True):
        found += _of_arm(variation.label, one, numbers)
    missing = [v for v in recipe.variations() if v not in played]
    found += [
        Quantity(
            key=f"vision.effect.{v.label}", label=_words(v.label), value=None, signed=True,
            why_not="not played, or refused because the picture did not change",
        )
        for v in missing
    ]  # fmt: skip
    return (*found, *_cells(chapter, recipe))


def _of_arm(label: str, judged: Judged, numbers: Numbers) -> Iterator[Quantity]:
    success, moved = numbers[judged.arm]
    words = _words(label)
    yield Quantity(key=f"vision.success.{label}", label=f"success, {words}", value=success)
    effect = Quantity.of(f"vision.effect.{label}", words, judged.success.comparison, against=CLEAN)
    yield effect.model_copy(update={"p": judged.success.p})
    if not moved.n:
        return
    key = f"vision.displacement.{label}"
    yield Quantity(key=key, label=f"displacement, {words}", value=moved, unit="m",
                   bounds=METRICS["displacement"].bounds)  # fmt: skip
    beyond = Quantity.of(
        f"{key}.against.control", f"displacement, {words}, beyond faint noise",
        judged.moved.comparison, against=CONTROL, unit="m", bounds=METRICS["displacement"].bounds,
    )  # fmt: skip
    yield beyond.model_copy(update={"p": judged.moved.p})


def _cells(chapter: Chapter, recipe: Vision) -> Iterator[Quantity]:
    cells = chapter.judged(chapter.played(recipe.cells()))
    if cells:
        yield Quantity(
            key="vision.cells_that_matter",
            label="cells of the picture whose covering changes success",
            value=rate([c.success.found for c in cells]),
        )


def _words(label: str) -> str:
    """`blur_050` as `blur at 0.50`."""
    name, _, severity = label.rpartition("_")
    if name and severity.isdigit() and len(severity) == 3:
        return f"{name.replace('_', ' ')} at {int(severity) / 100:.2f}"
    return label.replace("_", " ")
