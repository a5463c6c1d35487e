"""Moving the gripper by steps towards where it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vlascope.types import FloatArray

if TYPE_CHECKING:
    from vlascope_benchmarks.libero.simulator import Simulator

__all__ = ["ACROSS", "CLOSE", "DOWN", "FORWARD", "OPEN", "Hand"]

Float64 = npt.NDArray[np.float64]
Actions = Iterator[FloatArray]

OPEN, CLOSE = -1.0, 1.0

DOWN = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])
"""The grip site's axes when it points at the table; its first is where the fingers open."""

ACROSS = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
"""Pointing at the table, fingers opening along the world's x."""

FORWARD = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
"""Pointing along the world's -y, fingers above each other."""

_METRES, _RADIANS = 0.05, 0.5
"""What one unit of an action moves and turns."""


class Hand:
    """The gripper of one simulator; every move gives actions until it is there."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._facing: Float64 | None = None

    def at(self) -> Float64:
        """Where the grip site is, (3,)."""
        return np.array(self._simulator.data.site_xpos[self._simulator.robot.eef_site_id])

    def go(
        self,
        target: Callable[[], Float64] | Float64,
        grip: float,
        *,
        near: float,
        patience: int,
        gently: bool = False,
    ) -> Actions:
        """Towards a point, or one that moves, until `near` metres are left or patience is."""
        for _ in range(patience):
            left = (target() if callable(target) else target) - self.at()
            if np.linalg.norm(left) < near:
                return
            step = np.clip(left / _METRES, -1, 1)
            if gently:
                step[2] = max(step[2], -0.5)
            yield self._action(step, grip)

    def face(self, facing: Float64) -> None:
        """Turn while moving, until the grip site's axes are those of `facing`."""
        if self._facing is not None or facing is not DOWN:
            self._facing = facing

    def turn(self, grip: float, *, patience: int) -> Actions:
        """Stay until it faces where it should."""
        here = self.at()
        for _ in range(patience):
            if np.linalg.norm(self._turn_left()) < 0.1:
                break
            yield self._action(np.clip((here - self.at()) / _METRES, -1, 1), grip)

    def wait(self, steps: int, grip: float) -> Actions:
        """Stay and let the fingers move."""
        for _ in range(steps):
            yield self._action(np.zeros(3), grip)

    def _action(self, step: Float64, grip: float) -> FloatArray:
        turn = np.clip(self._turn_left() / _RADIANS, -1, 1)
        return np.array([*step, *turn, grip], dtype=np.float32)

    def _turn_left(self) -> Float64:
        """Axis times angle from the present orientation to the wanted one, in the world frame."""
        if self._facing is None:
            return np.zeros(3)
        simulator = self._simulator
        now = simulator.data.site_xmat[simulator.robot.eef_site_id].reshape(3, 3)
        between = self._facing @ now.T
        angle = np.arccos(np.clip((np.trace(between) - 1) / 2, -1, 1))
        axis = np.array(
            [
                between[2, 1] - between[1, 2],
                between[0, 2] - between[2, 0],
                between[1, 0] - between[0, 1],
            ]
        )
        sine = 2 * np.sin(angle)
        return axis * (angle / sine) if sine > 1e-6 else np.zeros(3)
