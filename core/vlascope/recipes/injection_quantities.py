"""Injection in numbers that policies are compared by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from vlascope.recipes.injection_between import between
from vlascope.recipes.injection_grid import CONDITIONS, Condition
from vlascope.recipes.injection_places import Spot, spots
from vlascope.recipes.injection_tables import norm_ratio
from vlascope.recipes.injection_verdicts import DECIDING, adjusted, arms_of, verdict_of
from vlascope.report.wording import spoken
from vlascope.study.findings import estimate, paired
from vlascope.study.metrics import METRICS
from vlascope.study.quantity import Quantity

if TYPE_CHECKING:
    from vlascope.recipes.injection import Injection
    from vlascope.recipes.injection_verdicts import Verdict
    from vlascope.study.recipe import Reading

__all__ = ["injection_quantities"]

MEASURED: Final[Mapping[Condition, tuple[str, ...]]] = {
    "null_prompt": ("success", "displacement"),
    "self": ("displacement",),
    "cross_seed": ("success", "displacement"),
}
CROSSED: Final = (
    "success", "displacement", "source_goal", "override", "override_strict", "override_margin",
    "override_ambiguous", "source_alignment", "source_alignment_rank", "objects_disturbed",
)  # fmt: skip
"""Of conditions whose source was after something else."""

DRIVEN: Final = ("no_injection", "cross_prompt", "random_direction", "prompting")
"""Controls whose own value stands beside an injection's, and against which it is set."""

OF_ITSELF: Final = ("override", "override_strict", "override_margin")
"""An episode without injection is the baseline, which is never nearer to the source than itself."""


def injection_quantities(recipe: Injection, reading: Reading) -> tuple[Quantity, ...]:
    """Every measure of every arm that other policies can have too, its controls, and ratios.

    Keys: `injection.CONDITION.METRIC` (the arm), `.METRIC.CONTROL` (a control's own value) and
    `.METRIC.against.CONTROL` (paired difference); windows stand before the metric. Between two
    pathways: see `between`. The p of the measure that a condition is about is the chapter's,
    adjusted over its arms; others are those of their comparison.
    """
    arms = arms_of(reading.measuring, reading.name)
    judged = adjusted(
        [verdict_of(reading.measuring, reading.policy, a) for a in arms], recipe.alpha
    )
    places = spots(recipe)
    found: list[Quantity] = []
    held: dict[Condition, dict[Spot, str]] = {}
    for verdict in judged:
        spot = places.get(verdict.where)
        if spot is None or not verdict.value.n:
            continue
        held.setdefault(verdict.condition, {})[spot] = verdict.arm
        found += _of_arm(reading, verdict, spot)
    for condition in CONDITIONS:
        if condition in held and condition != "self":
            found += between(reading, condition, held[condition], recipe.pathways)
    return tuple(found)


def _of_arm(reading: Reading, verdict: Verdict, spot: Spot) -> Iterator[Quantity]:
    measuring, policy, arm = reading.measuring, reading.policy, verdict.arm
    controls = {r: c for r, c in measuring.design.controls(arm).items() if r in DRIVEN}
    place: dict[str, Any] = {**_place(spot), "norm_ratio": norm_ratio(reading, arm)}
    prefix = ".".join(("injection", verdict.condition, *filter(None, [spot.part])))
    for metric in MEASURED.get(verdict.condition, CROSSED):
        values = measuring.values(policy, arm, metric)
        told = estimate(metric, values)
        if not told.n:
            continue
        key, what = f"{prefix}.{metric}", METRICS[metric]
        label = f"{verdict.condition.replace('_', ' ')}: {what.label}"
        yield Quantity(key=key, label=label, value=told, unit=what.unit,
                       bounds=what.bounds, **place)  # fmt: skip
        for role, control in controls.items():
            theirs = measuring.values(policy, control, metric, like=arm)
            own = estimate(metric, {c: v for c, v in theirs.items() if c in values})
            itself = control == measuring.design.study.baseline_arm
            if not own.n or (itself and metric == "displacement"):
                continue
            where = _place(spot)
            if role == "random_direction":
                where["norm_ratio"] = norm_ratio(reading, control)
            zero = itself and metric in OF_ITSELF
            yield Quantity(
                key=f"{key}.{role}",
                label=f"{label}, {spoken(role)}{' (zero by definition)' if zero else ''}",
                value=own,
                unit=what.unit,
                bounds=what.bounds,
                **where,
            )
            if zero:
                continue
            compared = paired(metric, values, theirs)
            set_against = f"{label}, against {spoken(role)}"
            made = Quantity.of(
                f"{key}.against.{role}", set_against, compared, against=spoken(role),
                unit=what.unit, bounds=what.bounds,
            )  # fmt: skip
            about = metric == verdict.metric and role in DECIDING
            yield made.model_copy(update=place | ({"p": verdict.adjusted} if about else {}))


def _place(spot: Spot) -> dict[str, Any]:
    return {"pathway": spot.pathway, "depth": spot.depth, "site": spot.site, "at": spot.at}
