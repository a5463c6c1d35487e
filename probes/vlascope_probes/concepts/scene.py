"""What a concept may be asked of: one episode as named tracks, and how its scene is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from vlascope.errors import InvalidName

__all__ = ["Episode", "Floats", "Setting"]

Floats = npt.NDArray[np.float64]

_AXES: Final = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True)
class Setting:
    """How to read the scenes of a benchmark.

    Attributes:
        right, forward, up: world axes seen by the robot, `x`, `-y`, ...
        places: globs of positions that are goals rather than things.
        gripper: globs of the state's columns that hold the gripper's opening.
    """

    right: str = "x"
    forward: str = "y"
    up: str = "z"
    places: tuple[str, ...] = ("goal*",)
    gripper: tuple[str, ...] = ("*gripper*",)

    def axis(self, name: str) -> Floats:
        """The unit vector, (3,), of `right`, `forward` or `up`."""
        written = str(getattr(self, name))
        sign, letter = (-1.0, written[1:]) if written.startswith("-") else (1.0, written)
        if letter not in _AXES:
            raise InvalidName(f"axis {name} is {written!r}; write x, y or z, or -x, -y or -z")
        return sign * np.eye(3)[_AXES[letter]]


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode, `moments` = steps + 1 of them.

    Attributes:
        name, task, text: which one, and what the policy was told.
        moments: how many.
        hand: (moments, 3), or None where the benchmark has no scene state.
        objects: (moments, 3) by name; NaN while a thing is not there.
        actions: (moments - 1, dim).
        state: one number per moment by `stream.column`.
        holds: conditions of the scene, bool (moments,) by name.
        success_step: the first successful step; None where there is none.
        ranges: the smallest and largest value of each state column in the whole run.
    """

    name: str
    task: str
    text: str
    moments: int
    hand: Floats | None = None
    objects: Mapping[str, Floats] = field(default_factory=dict)
    actions: Floats | None = None
    state: Mapping[str, Floats] = field(default_factory=dict)
    holds: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    success_step: int | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
