"""One pathway beside another: which moves the robot more, and which redirects it more often."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from vlascope.recipes.injection_grid import Condition
from vlascope.recipes.injection_places import Spot
from vlascope.recipes.injection_tables import norm_ratio
from vlascope.statistics import Estimate, Pair, log_ratio
from vlascope.study.findings import paired
from vlascope.study.metrics import METRICS
from vlascope.study.quantity import Quantity

if TYPE_CHECKING:
    from vlascope.study.recipe import Reading

__all__ = ["PUBLISHED", "between"]

PUBLISHED: Final = ("expert", "vlm")
"""Pathways whose displacements others have compared."""
CROSSED: Final = ("cross_task", "same_scene", "cross_prompt")
"""Conditions whose source was after something else."""


def between(
    reading: Reading, condition: Condition, held: Mapping[Spot, str], pathways: Sequence[str]
) -> Iterator[Quantity]:
    """Every two pathways in alphabetical order, at the same depth, site and part.

    Keys: `injection.CONDITION.displacement_log_ratio.A_to_B` (natural logarithm of A's mean
    displacement over B's, paired), `.displacement_log_ratio_per_norm.A_to_B` (the same after
    dividing by the size of the edit relative to the activation), and
    `.override_difference.A_minus_B` (of `override_strict`). Where the pair that others published
    figures of is not there, it says so; other missing pathways make no quantity.

    Args:
        reading: of the recipe.
        condition: whose arms.
        held: arms by place.
        pathways: that the recipe injects into.
    """
    missing = [p for p in PUBLISHED if p not in pathways]
    whole = next((s for s in held if not (s.depth or s.part) and s.at is None), None)
    if missing and whole is not None:
        yield from _absent(condition, whole.site, missing)
    for a, b in combinations(sorted(pathways), 2):
        for spot, arm in held.items():
            other = held.get(replace(spot, pathway=b))
            if spot.pathway == a and other is not None:
                yield from _pair(reading, condition, spot, (a, b), (arm, other))


def _absent(condition: Condition, site: str, missing: Sequence[str]) -> Iterator[Quantity]:
    a, b = PUBLISHED
    keys = {f"displacement_log_ratio.{a}_to_{b}": f"displacement, ln({a} / {b})"}
    if condition in CROSSED:
        keys[f"override_difference.{a}_minus_{b}"] = f"override, {a} minus {b}"
    for key, label in keys.items():
        yield Quantity(
            key=f"injection.{condition}.{key}",
            label=f"{condition.replace('_', ' ')}: {label}",
            value=None,
            signed=True,
            site=site,
            why_not=f"no such pathway was injected into: {', '.join(missing)}",
        )


def _pair(
    reading: Reading, condition: Condition, spot: Spot, names: tuple[str, str],
    arms: tuple[str, str],
) -> Iterator[Quantity]:  # fmt: skip
    (a, b), prefix = names, ".".join(("injection", condition, *filter(None, [spot.part])))
    where: dict[str, Any] = {"depth": spot.depth, "site": spot.site, "at": spot.at}
    ratio = log_ratio(_cells(reading, "displacement", arms))
    told = f"{condition.replace('_', ' ')}: displacement, ln({a} / {b})"
    yield Quantity(
        key=f"{prefix}.displacement_log_ratio.{a}_to_{b}", label=told, value=ratio, unit="1",
        signed=True, against=f"injection into {b}",
        why_not="" if ratio.value is not None else "no displacement to divide by", **where,
    )  # fmt: skip
    sizes = [norm_ratio(reading, arm) for arm in arms]
    if ratio.value is not None and sizes[0] and sizes[1]:
        yield Quantity(
            key=f"{prefix}.displacement_log_ratio_per_norm.{a}_to_{b}",
            label=f"{told}, each by its edit's relative norm", unit="1", signed=True,
            value=_shifted(ratio, math.log(sizes[1] / sizes[0])),
            against=f"injection into {b}", **where,
        )  # fmt: skip
    metric = "override_strict"
    if condition in CROSSED:
        first, second = (reading.measuring.values(reading.policy, x, metric) for x in arms)
        found = paired(metric, first, second)
        made = Quantity.of(
            f"{prefix}.override_difference.{a}_minus_{b}",
            f"{condition.replace('_', ' ')}: {METRICS[metric].label}, {a} minus {b}",
            found, against=f"injection into {b}",
        )  # fmt: skip
        yield made.model_copy(update=where)


def _cells(reading: Reading, metric: str, arms: tuple[str, str]) -> list[Pair]:
    first, second = (reading.measuring.values(reading.policy, arm, metric) for arm in arms)
    return [Pair(cell[0], v, second[cell]) for cell, v in first.items() if cell in second]


def _shifted(found: Estimate, by: float) -> Estimate:
    ends = (None if x is None else x + by for x in (found.value, found.low, found.high))
    value, low, high = ends
    update = {"value": value, "low": low, "high": high}
    return found.model_copy(update=update)
