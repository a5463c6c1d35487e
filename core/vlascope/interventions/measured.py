"""Quantities read from what a policy observes: how fast and how high the hand is, in SI units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vlascope.errors import IncompatibleError, unknown_name
from vlascope.specs import StateSpec
from vlascope.types import Observation

__all__ = ["QUANTITIES", "Position", "Reader", "reader_for"]

QUANTITIES: Final[Mapping[str, str]] = {"speed": "m/s", "height": "m"}
"""Named quantities and their units; any number of a state stream can be named `stream.number`."""

Position = npt.NDArray[np.float64]

_AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Reader:
    """Reads one quantity.

    Attributes:
        quantity: by name.
        unit: as reports print it.
        stream, places: which numbers of which state stream it is made of.
        rate: whether it is the speed of those numbers rather than the (single) number itself.
    """

    quantity: str
    unit: str
    stream: str
    places: tuple[int, ...]
    rate: bool = False

    def position(self, observation: Observation) -> Position:
        """The numbers as they are now, float64 (n,)."""
        return np.asarray(observation.state[self.stream], np.float64)[list(self.places)]

    def value(self, now: Position, before: Position | None, seconds: float | None) -> float | None:
        """The quantity; None for a speed at an episode's beginning.

        A speed is the net displacement between two inferences over the time between them.
        """
        if not self.rate:
            return float(now[0])
        if before is None or not seconds:
            return None
        return float(np.linalg.norm(now - before) / seconds)


def reader_for(quantity: str, streams: Mapping[str, StateSpec]) -> Reader:
    """How to read `speed`, `height` or `stream.number` from the state a policy is given.

    Raises:
        IncompatibleError: the state says no position.
        UnknownName: there is no such quantity or number.
    """
    if quantity not in QUANTITIES:
        return _number(quantity, streams)
    wanted = ("z",) if quantity == "height" else _AXES
    for stream, spec in streams.items():
        metres = {
            n: i for i, (n, u) in enumerate(zip(spec.names, spec.units, strict=True)) if u == "m"
        }
        places = tuple(metres[axis] for axis in wanted if axis in metres)
        if places and (quantity == "height" or len(places) >= 2):
            return Reader(quantity, QUANTITIES[quantity], stream, places, quantity == "speed")
    told = {name: list(spec.names) for name, spec in streams.items()}
    raise IncompatibleError(
        f"{quantity} needs the hand's position ({', '.join(wanted)} in m) among the state the "
        f"policy is given; it is given {told or 'none'}; name a number as stream.number instead"
    )


def _number(quantity: str, streams: Mapping[str, StateSpec]) -> Reader:
    known = {
        f"{stream}.{name}": (stream, i, spec.units[i])
        for stream, spec in streams.items()
        for i, name in enumerate(spec.names)
    }
    if quantity not in known:
        raise unknown_name("quantity", quantity, [*QUANTITIES, *known])
    stream, place, unit = known[quantity]
    return Reader(quantity, unit, stream, (place,))
