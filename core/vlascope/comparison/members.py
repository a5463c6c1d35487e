"""Policies as pooling and verdicts see them: a name, a family, and numbers at places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from vlascope.study.quantity import Quantity

if TYPE_CHECKING:
    from vlascope.comparison.reading import ComparisonResult

__all__ = ["Member", "Spot", "families", "members_of"]


@dataclass(frozen=True, order=True)
class Spot:
    """What makes two numbers comparable: the measure, and where.

    Attributes:
        key, pathway, depth, site: as in `Quantity`.
        at: relative depth of a single layer in hundredths; -1 where it is not one layer, or where
            a third names it, whose layers lie a little differently in every network.
    """

    key: str
    pathway: str = ""
    depth: str = ""
    site: str = ""
    at: int = -1

    @classmethod
    def of(cls, quantity: Quantity) -> Spot:
        """Where a quantity stands."""
        at = -1 if quantity.at is None or quantity.depth else round(100 * quantity.at)
        return cls(quantity.key, quantity.pathway, quantity.depth, quantity.site, at)

    def control_in(self, other: Spot) -> str:
        """The control's name where `other` is this measure at this place under a control."""
        start = f"{self.key}."
        name = other.key.removeprefix(start)
        here = other.key.startswith(start) and replace(other, key=self.key) == self
        return name.replace("_", " ") if here and "." not in name else ""


@dataclass(frozen=True)
class Member:
    """A policy of the comparison.

    Attributes:
        name: of the entry.
        family: seeds of one architecture share it.
        quantities: all of them; of two at the same spot the first counts.
        pooled: whether it counts where architectures are pooled.
    """

    name: str
    family: str
    quantities: tuple[Quantity, ...] = ()
    pooled: bool = True

    @cached_property
    def by_spot(self) -> Mapping[Spot, Quantity]:
        """Every quantity by what it is comparable in."""
        found: dict[Spot, Quantity] = {}
        for quantity in self.quantities:
            found.setdefault(Spot.of(quantity), quantity)
        return found


def members_of(result: ComparisonResult) -> tuple[Member, ...]:
    """The entries that have any number."""
    entries = (Member(e.name, e.family, e.every_quantity, e.pooled) for e in result.entries)
    return tuple(m for m in entries if m.quantities)


def families(members: Iterable[Member]) -> dict[str, Sequence[Member]]:
    """Members by family, in order."""
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(member.family, []).append(member)
    return dict(found)
