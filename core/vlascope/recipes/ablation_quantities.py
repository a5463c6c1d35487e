"""Ablation in numbers that policies are compared by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vlascope.recipes.ablation_section import Broken, broken
from vlascope.recipes.ablation_tables import live_arms
from vlascope.recipes.ablation_verdicts import UNTOLD, Verdict, share
from vlascope.statistics import holm
from vlascope.study.depth import THIRDS
from vlascope.study.quantity import Quantity

if TYPE_CHECKING:
    from vlascope.recipes.ablation import Ablated, Ablation
    from vlascope.study.recipe import Reading

__all__ = ["ablation_quantities"]

BASELINE = "the policy as it is"
WORDS: Mapping[str, Verdict] = {"zero_effect": "zero", "destroyed": "destroyed"}


def ablation_quantities(recipe: Ablation, reading: Reading) -> tuple[Quantity, ...]:
    """The effect on success of every arm of the grid, and by pathway the rates of the verdicts.

    Keys: `ablation.effect.METHOD`, `ablation.effect_during.WINDOW.METHOD` for a part of the
    episode, either with `.against.random_direction`; `ablation.zero_effect.METHOD` and
    `ablation.destroyed.METHOD`. A dead site has no effect to be compared. Single layers stand at
    their relative depth.
    """
    found = broken(recipe, reading)
    means = reading.analyses.get(f"{reading.name}_means")
    layers: Mapping[str, int] = {} if means is None else means.data.get("layers", {})
    quantities: list[Quantity] = []
    for one, p in zip(found, holm([b.against.p for b in found]), strict=True):
        place = _place(one.place, layers)
        if place is not None:
            quantities += _of_arm(one, p, place)
    return (*quantities, *_rates(found))


def _of_arm(found: Broken, p: float | None, place: dict[str, Any]) -> Iterator[Quantity]:
    window, method = found.place.window, found.place.method
    key = f"ablation.effect_during.{window}.{method}" if window else f"ablation.effect.{method}"
    during = f", {window.replace('_', ' ')}" if window else ""
    label = f"success, {method} ablation{during}"
    if found.dead:
        why = "dead site: it cannot reach the action"
        yield Quantity(key=key, label=label, value=None, signed=True, why_not=why, **place)
        return
    more = place | {"norm_ratio": found.ratio}
    yield Quantity.of(key, label, found.against, against=BASELINE).model_copy(
        update=more | {"p": p}
    )
    if found.random is not None and found.random.difference.n:
        beside = "a random direction of equal norm"
        one = Quantity.of(
            f"{key}.against.random_direction", f"{label}, beyond {beside}", found.random,
            against=beside,
        )  # fmt: skip
        yield one.model_copy(update=more)


def _rates(found: list[Broken]) -> Iterator[Quantity]:
    for (pathway, method), mine in live_arms(found).items():
        for word, verdict in WORDS.items():
            value = share(verdict, [(b.verdict, b.against) for b in mine])
            yield Quantity(
                key=f"ablation.{word}.{method}",
                label=f"live sites with {word.replace('_', ' ')}, {method} ablation",
                value=value,
                pathway=pathway,
                why_not=UNTOLD if value is None else "",
            )


def _place(place: Ablated, layers: Mapping[str, int]) -> dict[str, Any] | None:
    """Pathway, third or relative depth, and site; None for a layer of an unknown depth."""
    where: dict[str, Any] = {"pathway": place.pathway, "site": place.site}
    layer = place.layer.partition(".")[2]
    if layer in THIRDS:
        return where | {"depth": layer}
    if layer.endswith("%"):
        return where | {"at": int(layer.removesuffix("%")) / 100}
    if not layer.isdigit():
        return where
    if place.pathway not in layers:
        return None
    return where | {"at": int(layer) / max(1, layers[place.pathway] - 1)}
