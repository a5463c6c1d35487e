"""A scripted expert: grasp the thing from above, carry it over the place, and let go."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vlascope.types import FloatArray, Pose

__all__ = ["PickAndPlace", "Sight"]

Float64 = npt.NDArray[np.float64]

_OPEN, _CLOSED = 1.0, -1.0
_TURN = 0.3
"""Radians that one step turns the gripper at most."""


@dataclass(frozen=True, eq=False)
class Sight:
    """What the expert knows: poses in the world, the base's axes (3, 3), and a height in metres.

    `height` is where the thing's centre lay when the episode began.
    """

    hand: Pose
    thing: Pose
    place: Pose
    base: Float64
    height: float


@dataclass(frozen=True)
class _Stage:
    """One way-point: metres above its anchor, how fast, how near is there, how long at most."""

    above: float
    speed: float
    near: float
    steps: int
    grip: float
    anchor: str


def _stages(release: float) -> tuple[_Stage, ...]:
    return (
        _Stage(0.06, 0.03, 0.012, 16, _OPEN, "thing"),
        _Stage(-0.006, 0.02, 0.008, 8, _OPEN, "thing"),
        _Stage(0.0, 0.0, 0.0, 5, _CLOSED, "hand"),
        _Stage(0.10, 0.02, 0.02, 10, _CLOSED, "up"),
        _Stage(0.10, 0.03, 0.015, 16, _CLOSED, "place"),
        _Stage(release, 0.02, 0.012, 8, _CLOSED, "place"),
        _Stage(0.0, 0.0, 0.0, 1000, _OPEN, "hand"),
    )


class PickAndPlace:
    """One episode of the expert; call it once per step.

    Args:
        slow_release: go down to just above the place before letting go, for things that must come
            to rest where they are put; else let go a hand's breadth above it.
    """

    def __init__(self, *, slow_release: bool = True) -> None:
        self._stages = _stages(0.045 if slow_release else 0.06)
        self._stage, self._spent = 0, 0

    def __call__(self, sight: Sight) -> FloatArray:
        """The action now: base-frame metres, rotation vector and gripper, float32 (7,)."""
        stage = self._stages[self._stage]
        goal = _goal(stage, sight)
        away = goal - sight.hand.position
        step = away * min(1.0, stage.speed / max(float(np.abs(away).max()), 1e-9))
        turn = yaw_error(sight) if self._stage == 0 else 0.0
        self._spent += 1
        there = np.linalg.norm(away) < stage.near and abs(turn) < 0.1
        if there or self._spent > stage.steps:
            self._stage, self._spent = self._stage + 1, 0
        spin = np.array([0.0, 0.0, np.clip(turn, -_TURN, _TURN)])
        back = sight.base.T
        return np.concatenate([back @ step, back @ spin, [stage.grip]]).astype(np.float32)


def yaw_error(sight: Sight) -> float:
    """Radians about the vertical that set the fingers across the thing's long (x) axis.

    In [-pi/2, pi/2), because fingers may be swapped.
    """
    fingers = _axis(sight.hand, 1)
    long = _axis(sight.thing, 0)
    across = np.arctan2(long[1], long[0]) + pi / 2
    error = across - np.arctan2(fingers[1], fingers[0])
    return float((error + pi / 2) % pi - pi / 2)


def _goal(stage: _Stage, sight: Sight) -> Float64:
    hand, thing, place = (p.position for p in (sight.hand, sight.thing, sight.place))
    up = np.array([0.0, 0.0, 1.0])
    if stage.anchor == "hand":
        return hand
    if stage.anchor == "thing":
        return thing + stage.above * up
    if stage.anchor == "up":
        return np.array([hand[0], hand[1], sight.height + stage.above])
    if stage.above >= 0.1:
        return np.array([place[0], place[1], sight.height + stage.above])
    return place + stage.above * up


def _axis(pose: Pose, index: int) -> Float64:
    w, x, y, z = pose.quaternion
    axis: Float64 = Rotation.from_quat([x, y, z, w]).as_matrix()[:, index]
    return axis
