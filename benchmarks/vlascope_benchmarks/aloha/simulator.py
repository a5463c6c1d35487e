"""One loaded ALOHA scene: gym-aloha's physics, joints and contacts, without its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from dm_control.mujoco import Physics
from dm_control.rl.control import PhysicsError
from gym_aloha.constants import ASSETS_DIR, DT, START_ARM_POSE
from gym_aloha.tasks.sim import BimanualViperXTask

from vlascope.types import FloatArray, Pose, StepResult
from vlascope_benchmarks.aloha.conditions import GROUPS
from vlascope_benchmarks.aloha.scenes import SCENES, Float64
from vlascope_benchmarks.mujoco_configuration import configuration_of, put

__all__ = ["HANDS", "Simulator"]

HANDS: Mapping[str, str] = {
    "end_effector": "vx300s_right/gripper_link",
    "end_effector.left": "vx300s_left/gripper_link",
    "end_effector.right": "vx300s_right/gripper_link",
}
"""Bodies of the hands by their names in a scene's state."""

_ARMS = len(START_ARM_POSE)


class Simulator:
    """A scene that can be begun from a seed, stepped and read; it never draws.

    States equal those of gym-aloha's own environment bit for bit at equal seeds and actions.
    """

    def __init__(self, scene: str) -> None:
        self.scene = SCENES[scene]
        path = ASSETS_DIR / f"bimanual_viperx_{self.scene.file}.xml"
        self._physics = Physics.from_xml_path(str(path))
        self._task = BimanualViperXTask(random=0)
        self._substeps = round(DT / self._physics.timestep())
        self.model: Any = self._physics.model.ptr
        self.data: Any = self._physics.data.ptr
        self._geoms = {
            group: {index for name in names if (index := self._geom(name)) >= 0}
            for group, names in GROUPS.items()
        }
        self.initial: Float64 = np.zeros(7 * len(self.scene.bodies))
        """Poses of the loose things when the episode began, as `Scene.place` gives them."""
        self._diverged = False

    def begin(self, seed: int) -> None:
        """Go to the initial state of `seed`, whatever was played before."""
        self.initial, self._diverged = self.scene.place(seed), False
        with self._physics.reset_context():
            self.data.qpos[:_ARMS] = START_ARM_POSE
            self.data.ctrl[:] = START_ARM_POSE
            self.data.qpos[_ARMS:] = self.initial

    def step(self, action: FloatArray) -> StepResult:
        """Hold 14 joint targets, float32, for one control step and judge the result.

        Targets so wild that the physics diverges end the episode in failure: the scene then stays
        as it was before them, and `info["diverged"]` is true.
        """
        if not self._diverged:
            self._advance(action)
        reward, predicates = self.scene.judge(self._contacts())
        success = reward == 4 and not self._diverged
        return StepResult(
            success=success,
            terminated=success or self._diverged,
            predicates=predicates,
            info={"reward": reward, "diverged": self._diverged},
        )

    def predicates(self) -> Mapping[str, bool]:
        """The named conditions of this moment."""
        return self.scene.judge(self._contacts())[1]

    def joints(self) -> FloatArray:
        """Joint angles in rad and gripper openings, 1 open, 0 closed: float32 (14,)."""
        found: FloatArray = self._task.get_qpos(self._physics).astype(np.float32)
        return found

    def configuration(self) -> FloatArray:
        """What the present picture is drawn from, float32 (n,)."""
        return configuration_of(self.model, self.data, behind=False)

    def show(self, configuration: FloatArray) -> None:
        """Put the scene so; it cannot be stepped on from there."""
        put(self.model, self.data, configuration)

    def poses(self) -> Mapping[str, Pose]:
        """The hands and the loose things."""
        return {name: self._pose(body) for name, body in {**HANDS, **self.scene.bodies}.items()}

    def close(self) -> None:
        """Free the model."""
        self._physics.free()

    def _advance(self, action: FloatArray) -> None:
        """Ten steps of the physics; where they diverge, back to where they began."""
        before = self.data.qpos.copy(), self.data.qvel.copy()
        self._task.before_step(action, self._physics)
        try:
            self._physics.step(self._substeps)
        except PhysicsError:
            self._diverged = True
            with self._physics.reset_context():
                self.data.qpos[:], self.data.qvel[:] = before

    def _geom(self, name: str) -> int:
        """The geom's number, -1 where this scene has none of that name."""
        import mujoco

        return int(mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_GEOM, name))

    def _pose(self, body: str) -> Pose:
        found = self.data.body(body)
        return Pose(found.xpos.copy(), found.xquat.copy())

    def _contacts(self) -> Any:
        """`touching(group, group)` of this moment."""
        pairs = {(int(a), int(b)) for a, b in self.data.contact.geom}

        def touching(one: str, other: str) -> bool:
            first, second = self._geoms[one], self._geoms[other]
            return any(
                (a in first and b in second) or (a in second and b in first) for a, b in pairs
            )

        return touching
