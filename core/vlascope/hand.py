"""What the end effector does over an episode, in SI units, from its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from vlascope.errors import unknown_name

__all__ = ["HAND_UNITS", "hand_series"]

Floats = npt.NDArray[np.float64]

HAND_UNITS: Final[Mapping[str, str]] = {
    "speed": "m/s",
    "height": "m",
    "x": "m",
    "y": "m",
    "rise": "m/s",
    "velocity_x": "m/s",
    "velocity_y": "m/s",
}
"""Quantities of a hand's path and their units; `rise` is the vertical velocity."""

_AXIS: Final = {"x": 0, "y": 1, "height": 2, "velocity_x": 0, "velocity_y": 1, "rise": 2}


def hand_series(quantity: str, path: Floats, hz: float) -> Floats:
    """A quantity during each environment step, (steps,).

    Args:
        quantity: one of `HAND_UNITS`.
        path: positions in metres, (steps + 1, 3).
        hz: environment steps per second.

    Raises:
        UnknownName: there is no such quantity.
    """
    if quantity not in HAND_UNITS:
        raise unknown_name("quantity of the hand", quantity, HAND_UNITS)
    moved = np.diff(np.asarray(path, np.float64), axis=0) * hz
    if quantity == "speed":
        return np.linalg.norm(moved, axis=1)
    if HAND_UNITS[quantity] == "m":
        return np.asarray(path, np.float64)[1:, _AXIS[quantity]]
    return moved[:, _AXIS[quantity]]
