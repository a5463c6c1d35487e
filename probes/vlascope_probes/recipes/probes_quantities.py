"""Probes in numbers that policies are compared by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vlascope.hooks import HookPoint
from vlascope.statistics import Estimate
from vlascope.study.quantity import Bounds, Quantity, of_difference

if TYPE_CHECKING:
    from vlascope.study.recipe import Reading
    from vlascope_probes.recipes.probes import Probes

__all__ = ["probes_quantities"]

Row = Mapping[str, Any]
_READ: Final = {"R²": "r2", "balanced accuracy": "accuracy"}
_BOUNDS: Final[Mapping[str, Bounds]] = {"R²": (None, 1.0), "balanced accuracy": (0.0, 1.0)}
"""An R² of held-out episodes may be as far below zero as it likes."""
CONTROL = "control tasks, whose labels are dealt out anew"


@dataclass(frozen=True)
class _Read:
    """A group of targets (`action`, of `action.x` and `action.y`) at one hook point."""

    group: str
    metric: str
    point: HookPoint
    score: Estimate
    selectivity: Estimate
    p: float | None


def probes_quantities(recipe: Probes, reading: Reading) -> tuple[Quantity, ...]:
    """Scores and selectivities per layer, best and first of each pathway, and what removal does.

    Keys: `probes.r2.action` and `probes.accuracy.task` with `probes.selectivity.GROUP`, at the
    layer's relative depth; `probes.best_r2.action` (of several layers, so optimistic) and
    `probes.first_r2.action` of a pathway; `probes.without.GROUP` with `.against.random_subspace`.
    A group of numbers, such as all action dimensions, has the mean of theirs; the ends of its
    interval are the means of theirs, which is never surer than it should be.
    """
    result = reading.analyses.get(f"{reading.name}_map")
    if result is None:
        return ()
    read = _grouped(result.data["map"])
    layers = _depths(result.data.get("layers", {}), read)
    found: list[Quantity] = []
    for one in read:
        found += _at(one, layers)
    for group in dict.fromkeys(r.group for r in read):
        found += _summaries([r for r in read if r.group == group])
    return (*found, *_removals(recipe, reading))


def _grouped(rows: Sequence[Row]) -> list[_Read]:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        key = (row["target"].partition(".")[0], row["metric"], row["point"])
        groups.setdefault(key, []).append(row)
    return [
        _Read(
            group=group,
            metric=metric,
            point=HookPoint.parse(point),
            score=_mean(mine, 0.0),
            selectivity=_mean(mine, 1.0),
            p=mine[0]["p"] if len(mine) == 1 else None,
        )
        for (group, metric, point), mine in groups.items()
    ]


def _mean(rows: Sequence[Row], less: float) -> Estimate:
    """Of the group's scores, less so many times their mean control."""
    known = [r for r in rows if r["score"] is not None]
    n = min((int(r["episodes"]) for r in rows), default=0)
    method = "bootstrap over episodes" + (f", mean of {len(known)}" if len(known) > 1 else "")
    method += ", control taken as known" if less else ""

    def mean(name: str) -> float | None:
        values = [r[name] for r in known]
        if not values or any(v is None for v in values):
            return None
        return float(np.mean(values) - less * np.mean([r["control"] for r in known]))

    return Estimate(value=mean("score"), low=mean("low"), high=mean("high"), n=n, method=method)


def _depths(layers: Mapping[str, int], read: Sequence[_Read]) -> dict[str, int]:
    """Layers by pathway; of those that are not declared, as many as were probed."""
    found: dict[str, int] = {}
    for r in read:
        if r.point.layer is not None:
            deepest = max(found.get(r.point.pathway, 0), r.point.layer + 1)
            found[r.point.pathway] = layers.get(r.point.pathway, deepest)
    return found


def _at(one: _Read, layers: Mapping[str, int]) -> Iterator[Quantity]:
    point, layer = one.point, one.point.layer
    at = None if layer is None else layer / max(1, layers[point.pathway] - 1)
    where: dict[str, Any] = {"pathway": point.pathway, "site": point.site, "at": at}
    yield Quantity(key=_key(one), label=_label(one), value=one.score, unit="1", p=one.p,
                   bounds=_BOUNDS[one.metric], **where)  # fmt: skip
    yield Quantity(
        key=f"probes.selectivity.{one.group}", label=f"{_label(one)}, selectivity",
        value=one.selectivity, unit="1", signed=True, against=CONTROL, p=one.p,
        bounds=of_difference(_BOUNDS[one.metric]), **where,
    )  # fmt: skip


def _summaries(read: Sequence[_Read]) -> Iterator[Quantity]:
    """The best and the first layer of every pathway and site."""
    places: dict[tuple[str, str], list[_Read]] = {}
    for r in read:
        if r.point.layer is not None and r.score.value is not None:
            places.setdefault((r.point.pathway, r.point.site), []).append(r)
    for (pathway, site), mine in places.items():
        best = max(mine, key=lambda r: r.score.value or 0.0)
        first = min(mine, key=lambda r: r.point.layer or 0)
        where: dict[str, Any] = {"unit": "1", "pathway": pathway, "site": site}
        yield Quantity(
            key=f"probes.best_{_READ[best.metric]}.{best.group}",
            label=f"{_label(best)}, best of {len(mine)} layers",
            value=best.score,
            bounds=_BOUNDS[best.metric],
            **where,
        )
        if first.point.layer == 0:
            yield Quantity(
                key=f"probes.first_{_READ[first.metric]}.{first.group}",
                label=f"{_label(first)}, first layer",
                value=first.score,
                bounds=_BOUNDS[first.metric],
                **where,
            )


def _removals(recipe: Probes, reading: Reading) -> Iterator[Quantity]:
    for group in recipe.remove:
        plain, chance = recipe.played_without(reading, group)
        name = group.rstrip(".*")
        key, label = f"probes.without.{name}", f"success without what probes of {name} read"
        if not plain.difference.n:
            yield Quantity(key=key, label=label, value=None, signed=True, why_not="not played")
            continue
        yield Quantity.of(key, label, plain, against="the policy as it is")
        beside = "a random subspace of as many dimensions"
        yield Quantity.of(
            f"{key}.against.random_subspace", f"{label}, beyond {beside}", chance, against=beside
        )


def _key(one: _Read) -> str:
    return f"probes.{_READ[one.metric]}.{one.group}"


def _label(one: _Read) -> str:
    return f"{one.group.replace('_', ' ')}: {one.metric}"
