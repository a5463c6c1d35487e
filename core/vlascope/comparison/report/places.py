"""Quantities of many entries, side by side: what is comparable stands in one row."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from vlascope.comparison.members import Spot
from vlascope.statistics import Estimate
from vlascope.study.quantity import Quantity

__all__ = ["THIRDS", "Held", "by", "held_of", "matched", "where"]

THIRDS: Final[Mapping[str, float]] = {"early": 1 / 6, "mid": 1 / 2, "late": 5 / 6}
"""The relative depth of each third's middle."""


def where(spot: Spot) -> str:
    """`expert, early, resid_post`, `vlm, resid_post at 0.50`; empty for the whole policy."""
    named = ", ".join(part for part in (spot.pathway, spot.depth, spot.site) if part)
    return named if spot.at < 0 else f"{named} at {spot.at / 100:.2f}".strip()


@dataclass(frozen=True)
class Held:
    """The same number of several entries.

    Attributes:
        spot: what makes them comparable.
        example: any of them, for its words and unit.
        by_entry: in the entries' order; those without it are missing.
    """

    spot: Spot
    example: Quantity
    by_entry: Mapping[str, Quantity]

    @property
    def key(self) -> str:
        """What is measured."""
        return self.spot.key

    @property
    def what(self) -> str:
        """The first two parts of the key."""
        return ".".join(self.key.split(".")[:2])

    @property
    def kind(self) -> tuple[str, str, bool]:
        """Numbers of one kind can share an axis."""
        return self.what, self.example.unit, self.example.signed

    @property
    def panel(self) -> str:
        """What a line over depth has in common; empty for the whole policy."""
        return ", ".join(part for part in (self.spot.pathway, self.spot.site) if part)

    @property
    def relative(self) -> float:
        """How deep, 0 the first layer and 1 the last; the middle where it is the whole pathway."""
        return self.spot.at / 100 if self.spot.at >= 0 else THIRDS.get(self.spot.depth, 0.5)

    @property
    def title(self) -> str:
        """What and where: a table's row, a forest's heading."""
        at = where(self.spot)
        return f"{self.example.label} ({at})" if at else self.example.label

    @property
    def values(self) -> dict[str, Estimate]:
        """The numbers that there are, by entry."""
        found = ((entry, q.value) for entry, q in self.by_entry.items())
        return {e: v for e, v in found if v is not None and v.value is not None}


def matched(quantity: Quantity) -> Quantity:
    """Comparable by its third where it names one: layers of two depths are rarely equally deep."""
    return quantity.model_copy(update={"at": None}) if quantity.depth else quantity


def held_of(found: Mapping[str, Iterable[Quantity]]) -> tuple[Held, ...]:
    """Every spot in the order in which it is first met, entry by entry.

    Args:
        found: the quantities of one question by entry; of two at one spot the first counts.
    """
    spots: dict[Spot, dict[str, Quantity]] = {}
    for entry, quantities in found.items():
        for quantity in quantities:
            spots.setdefault(Spot.of(matched(quantity)), {}).setdefault(entry, quantity)
    return tuple(
        Held(spot, next(iter(by_entry.values())), by_entry) for spot, by_entry in spots.items()
    )


def by[Key: Hashable](held: Iterable[Held], key: Callable[[Held], Key]) -> dict[Key, list[Held]]:
    """Grouped, groups and members in order."""
    found: dict[Key, list[Held]] = {}
    for one in held:
        found.setdefault(key(one), []).append(one)
    return found
