"""A scripted expert: way-points of both hands, turned into joint targets by a second simulator.

The package has a scene in which the hands are welded to two points that one may move. The plan
drags them through way-points there, and what the joints did is what the expert asks of the real
scene's arms, step by step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dm_control.mujoco import Physics
from gym_aloha.constants import ASSETS_DIR, DT, normalize_puppet_gripper_position
from gym_aloha.tasks.sim_end_effector import BimanualViperXEndEffectorTask

from vlascope.types import FloatArray
from vlascope_benchmarks.aloha.scenes import Float64, Scene
from vlascope_benchmarks.aloha.waypoints import PLANNERS, Path, at

__all__ = ["Expert"]

_STEPS = 400
_STIFF = (0.9, 0.95)
"""Impedance of the welds; with the file's own 0.25 the hands lag 12 cm behind in MuJoCo 3."""


class Expert:
    """The plan of one episode at a time on one scene."""

    def __init__(self, scene: Scene) -> None:
        import mujoco

        self._scene = scene
        path = ASSETS_DIR / f"bimanual_viperx_end_effector_{scene.file}.xml"
        self._physics = Physics.from_xml_path(str(path))
        self._task = BimanualViperXEndEffectorTask(random=0)
        self._substeps = round(DT / self._physics.timestep())
        model: Any = self._physics.model.ptr
        model.eq_solimp[model.eq_type == mujoco.mjtEq.mjEQ_WELD, :2] = _STIFF
        self._planned_for: bytes = b""
        self._plan: FloatArray = np.zeros((0, 14), np.float32)

    def action(self, things: Float64, step: int) -> FloatArray:
        """Joint targets of a step, float32 (14,), where the things lay as `things` at the start."""
        if things.tobytes() != self._planned_for:
            self._plan, self._planned_for = self._rehearse(things), things.tobytes()
        return self._plan[min(step, len(self._plan) - 1)].copy()

    def close(self) -> None:
        """Free the second simulator."""
        self._physics.free()

    def _rehearse(self, things: Float64) -> FloatArray:
        """Drag the hands through the way-points and note the joints: float32 (400, 14)."""
        physics, data = self._physics, self._physics.data
        with physics.reset_context():
            self._task.initialize_robots(physics)
            data.qpos[16:] = things
        hands = np.concatenate([data.mocap_pos, data.mocap_quat], axis=1)
        paths = PLANNERS[self._scene.file](hands, things.reshape(-1, 7))
        return np.array([self._drag(paths, step) for step in range(_STEPS)], dtype=np.float32)

    def _drag(self, paths: tuple[Path, Path], step: int) -> Float64:
        """One step; arms as they then are, grippers as they were told."""
        self._task.before_step(np.concatenate([at(path, step) for path in paths]), self._physics)
        self._physics.step(self._substeps)
        joints: Float64 = self._task.get_qpos(self._physics)
        told = normalize_puppet_gripper_position(self._physics.data.ctrl)
        joints[6], joints[13] = told[0], told[2]
        return joints
