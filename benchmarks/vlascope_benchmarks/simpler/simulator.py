"""One loaded twin of ManiSkill 3: begun from a seed, stepped and read, and drawn when asked."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from vlascope.types import FloatArray, Image, Pose, StepResult
from vlascope_benchmarks.simpler.conversion import opening, to_controller
from vlascope_benchmarks.simpler.expert import PickAndPlace, Sight
from vlascope_benchmarks.simpler.success import half_extent, placement
from vlascope_benchmarks.simpler.tasks import Twin
from vlascope_benchmarks.simpler.vulkan import Device

__all__ = ["CAMERA", "TwinSimulator"]

CAMERA = "3rd_view_camera"

_MODULE = "mani_skill.envs.tasks.digital_twins.bridge_dataset_eval.put_on_in_scene"
_TOUCH = 0.05
"""Newtons from which ManiSkill takes two things to press on each other."""
_LIFT = 0.02
"""Metres above where it lay at which a thing is lifted."""


class TwinSimulator:
    """One twin; it draws in `picture` only."""

    def __init__(self, twin: Twin, device: Device) -> None:
        self._twin = twin
        make = _environment_class(twin)
        with _quiet():
            self.env: Any = make(
                obs_mode="rgb+segmentation",
                num_envs=1,
                sim_backend="physx_cpu",
                render_backend="cpu" if device == "cpu" else "gpu",
            )
        self.env.get_obs = _nothing  # ManiSkill draws at every reset and step otherwise
        self._expert = PickAndPlace(slow_release=twin.needs_contact)
        self._start: Mapping[str, Pose] = {}

    def begin(self, seed: int) -> None:
        """Go to initial state `seed` modulo their number, whatever was played before.

        The scene is built anew: PhysX keeps contacts from the episode before, which otherwise move
        the next start by a few units in the last place.
        """
        with _quiet():
            start = {"episode_id": seed % self._twin.starts, "reconfigure": True}
            self.env.reset(seed=seed, options=start)
        self._expert = PickAndPlace(slow_release=self._twin.needs_contact)
        self._start = self.poses()

    def step(self, action: FloatArray) -> StepResult:
        """Apply one action for a control step and let ManiSkill judge the result."""
        self.env._step_action(to_controller(action))
        self.env._elapsed_steps += 1
        success = bool(self.env.evaluate()["success"][0])
        named = {self._twin.task.name: success, **self.predicates()}
        return StepResult(success=success, terminated=success, predicates=named)

    def poses(self) -> Mapping[str, Pose]:
        """The gripper and both things, in the world."""
        robot = self.env.agent.robot
        return {
            "end_effector": _pose(robot.links_map["ee_gripper_link"].pose),
            self._twin.moved: _pose(self._thing(self._twin.source).pose),
            self._twin.place: _pose(self._thing(self._twin.target).pose),
        }

    def predicates(self) -> Mapping[str, bool]:
        """Grasp, lift, place and contact, as they hold now."""
        twin, now = self._twin, self.poses()
        source, target = now[twin.moved].position, now[twin.place].position
        halves = (self._half(twin.source, twin.moved), self._half(twin.target, twin.place))
        placed = placement(source, target, *halves, twin.slack)
        lifted = source[2] > self._start[twin.moved].position[2] + _LIFT
        things = (self._thing(twin.source), self._thing(twin.target))
        force = self.env.scene.get_pairwise_contact_forces(*things)[0].numpy()
        return {
            f"{twin.moved}_grasped": bool(self.env.agent.is_grasping(things[0])[0]),
            f"{twin.moved}_lifted": bool(lifted),
            f"{twin.moved}_over_{twin.place}": placed.over,
            f"{twin.moved}_on_{twin.place}": placed.on,
            f"{twin.moved}_touches_{twin.place}": bool(np.linalg.norm(force) > _TOUCH),
        }

    def proprio(self) -> Mapping[str, FloatArray]:
        """The state streams of `STATE`."""
        held = _pose(self.env.agent.controller.controllers["arm"].ee_pose_at_base)
        joints = self.env.agent.robot.qpos[0].numpy()
        return {
            "eef_position": held.position.astype(np.float32),
            "eef_quaternion": held.quaternion.astype(np.float32),
            "joints": joints[:6].copy(),
            "gripper": opening(joints[6:8]),
        }

    def picture(self) -> Image:
        """The scene before the photograph of the real kitchen: uint8 (480, 640, 3)."""
        drawn = self.env._get_obs_sensor_data()[CAMERA]["rgb"]
        return np.ascontiguousarray(drawn[0].cpu().numpy().astype(np.uint8))

    def expert(self) -> FloatArray:
        """The scripted expert's action now, float32 (7,)."""
        now, robot = self.poses(), self.env.agent.robot
        base = robot.pose.to_transformation_matrix()[0, :3, :3].numpy().astype(np.float64)
        return self._expert(
            Sight(
                hand=now["end_effector"],
                thing=now[self._twin.moved],
                place=now[self._twin.place],
                base=base,
                height=self._start[self._twin.moved].position[2],
            )
        )

    def close(self) -> None:
        """Free the scene."""
        self.env.close()

    def _thing(self, model: str) -> Any:
        return self.env.objs[model]

    def _half(self, model: str, name: str) -> npt.NDArray[np.float64]:
        size = self.env.episode_model_bbox_sizes[model].numpy()
        return half_extent(size, self._start[name])


def _nothing(*_: object, **__: object) -> dict[str, Any]:
    """In the place of an observation that nobody asked for."""
    return {}


def _environment_class(twin: Twin) -> Any:
    """ManiSkill's class with a backdrop and a list of kept things of its own.

    ManiSkill keeps both in one place for all environments of a process, where the twin loaded last
    would change the picture of the others.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = getattr(import_module(_MODULE), twin.environment)
    own: dict[str, Any]
    own = {"_rgb_overlay_images": {}, "_objects_to_remove_from_greenscreen": []}
    return type(twin.environment, (stock,), own)


def _pose(pose: Any) -> Pose:
    return Pose(pose.p[0].numpy().astype(np.float64), pose.q[0].numpy().astype(np.float64))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without ManiSkill's remarks about its own twins."""
    logger = logging.getLogger("mani_skill")
    before = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(before)
