"""Tables of the chapter on vision: what a perturbation did to pictures and to episodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vlascope.perturbations import Perturbed
from vlascope.recipes.vision_judging import Judged
from vlascope.report.wording import p_value
from vlascope.sections import Cell, Table
from vlascope.statistics import Estimate

__all__ = ["Numbers", "effect_table", "pixel_change", "receipt_table"]

Numbers = Mapping[str, tuple[Estimate, Estimate]]
"""By arm: success rate, and displacement from the clean baseline in metres."""


def effect_table(
    title: str, judged: Sequence[Judged], numbers: Numbers, *, baseline: str, folded: bool = False
) -> Table:
    """A row per arm, the clean baseline and the control before them."""
    return Table(
        title=title,
        caption=(
            "Success minus that of the clean baseline, and displacement of the end effector from "
            "the clean baseline minus the control's, paired by task and seed; p-values are "
            "adjusted (Holm) over this table."
        ),
        columns=(
            "arm",
            "success",
            f"minus `{baseline}`",
            "p",
            "displacement",
            "minus control",
            "p",
        ),
        rows=(
            *(_plain(arm, numbers) for arm in numbers if arm not in {j.arm for j in judged}),
            *(_row(j, numbers) for j in judged),
        ),
        folded=folded,
    )


def _plain(arm: str, numbers: Numbers) -> tuple[str | Cell | None, ...]:
    success, moved = numbers[arm]
    distance = Cell(estimate=moved, unit="m") if moved.n else None
    return (f"`{arm}`", Cell(estimate=success), None, None, distance, None, None)


def _row(judged: Judged, numbers: Numbers) -> tuple[str | Cell | None, ...]:
    success, moved = numbers[judged.arm]
    return (
        f"`{judged.arm}`",
        Cell(estimate=success),
        Cell(estimate=judged.success.comparison.difference, signed=True),
        p_value(judged.success.p),
        Cell(estimate=moved, unit="m"),
        Cell(estimate=judged.moved.comparison.difference, unit="m", signed=True),
        p_value(judged.moved.p),
    )


def receipt_table(receipts: Mapping[str, Sequence[Perturbed]]) -> Table:
    """What every arm did to the pictures, and whether the policy was given them."""
    return Table(
        title="Did the changed picture arrive?",
        caption=(
            "Pictures changed, of those that were due; mean |change| of a value (0 to 255) over "
            "all due pictures, for each perturbation of the arm; and looks at which the policy "
            "was given, by hash, exactly what the perturbations left, and something else than the "
            "cameras took. An arm that changed nothing would have been refused."
        ),
        columns=("arm", "episodes", "changed", "mean change", "delivered", "altered"),
        rows=tuple(_receipt(arm, found) for arm, found in receipts.items()),
        folded=True,
    )


def _receipt(arm: str, found: Sequence[Perturbed]) -> tuple[str | int | float | None, ...]:
    parts = [p for one in found for p in one.perturbations]
    looks = sum(one.looks for one in found)
    return (
        f"`{arm}`",
        len(found),
        f"{sum(p.changed for p in parts)} of {sum(p.pictures for p in parts)}",
        ", ".join(f"{kind} {change:.1f}" for kind, change in pixel_change(found)),
        f"{sum(one.delivered for one in found)} of {looks}",
        f"{sum(one.altered for one in found)} of {looks}",
    )


def pixel_change(found: Iterable[Perturbed]) -> list[tuple[str, float]]:
    """Mean |change| of a value over all due pictures, by kind, in order."""
    total: dict[tuple[int, str], float] = {}
    pictures: dict[tuple[int, str], int] = {}
    for one in found:
        for i, part in enumerate(one.perturbations):
            key = (i, part.kind)
            pictures[key] = pictures.get(key, 0) + part.pictures
            total[key] = total.get(key, 0.0) + (part.change or 0.0) * part.pictures
    return [(kind, total[i, kind] / n) for (i, kind), n in pictures.items() if n]
