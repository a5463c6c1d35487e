"""One loaded MuJoCo scene at a time: MetaWorld's own, seeded, with its scripted expert."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP

from vlascope.types import FloatArray, Pose, StepResult
from vlascope_benchmarks.metaworld.conditions import conditions_of
from vlascope_benchmarks.mujoco_configuration import configuration_of, put

__all__ = ["Float64", "Simulator", "StockSimulator", "scripted_action", "unlock"]

Float64 = npt.NDArray[np.float64]

_CORNER2 = (0.75, 0.075, 0.7)
"""Where published vision-language-action work puts this camera: nearer than the package does."""

_RANDOMISED = ("body_pos", "body_quat", "site_pos", "geom_rgba", "cam_pos")
"""The model arrays that a reset may write to."""


class Simulator(ABC):
    """A scene that can be begun from a seed, stepped and read; it never draws."""

    env: Any
    """The MetaWorld environment inside, a `SawyerXYZEnv`."""

    def __init__(self, env: Any) -> None:
        self.env = env
        env.model.camera("corner2").pos[:] = _CORNER2
        self._pristine = {name: getattr(env.model, name).copy() for name in _RANDOMISED}
        self._observation: Float64 = np.zeros(39)
        self._things = _thing_names(env.model)

    @property
    def model(self) -> Any:
        """The `mujoco.MjModel`."""
        return self.env.model

    @property
    def data(self) -> Any:
        """The `mujoco.MjData`."""
        return self.env.data

    def begin(self, task: str, seed: int) -> None:
        """Go to the initial state of (task, seed), whatever was played before."""
        for name, value in self._pristine.items():
            getattr(self.model, name)[:] = value
        self._reset(task, seed)
        mujoco.mj_forward(self.model, self.data)
        now = self.env._get_curr_obs_combined_no_goal()
        self._observation = np.hstack([now, now, self.env._get_pos_goal()])
        self.env._prev_obs = now

    def step(self, action: FloatArray) -> StepResult:
        """Apply one action for one control step and judge the result."""
        self._observation, _, _, _, info = self.env.step(action)
        return self._judge(info)

    def proprio(self) -> FloatArray:
        """Hand position (m) and gripper opening in [0, 1]: float32 (4,)."""
        return self._observation[:4].astype(np.float32)

    def configuration(self) -> FloatArray:
        """What the present picture is drawn from, float32 (n,)."""
        return configuration_of(self.model, self.data, behind=False)

    def show(self, configuration: FloatArray) -> None:
        """Put the scene so; it cannot be stepped on from there."""
        put(self.model, self.data, configuration)

    def poses(self) -> Mapping[str, Pose]:
        """The hand, every named body of the scene that is not the robot or the room, the goals."""
        found = {"end_effector": self._body_pose("hand")}
        found |= {name: self._body_pose(name) for name in self._things}
        return {**found, **self._marks()}

    def close(self) -> None:
        """Let go of the model."""
        self.env.close()

    @abstractmethod
    def predicates(self) -> Mapping[str, bool]:
        """Named conditions of the scene that can be read off its present state."""

    @abstractmethod
    def expert(self) -> FloatArray:
        """What the scripted expert does now: float32 (4,) in [-1, 1]."""

    @abstractmethod
    def _reset(self, task: str, seed: int) -> None:
        """Draw the initial state from `seed`; the model arrays are pristine."""

    @abstractmethod
    def _judge(self, info: Mapping[str, Any]) -> StepResult:
        """Success and predicates after a step that reported `info`."""

    @abstractmethod
    def _marks(self) -> Mapping[str, Pose]:
        """Places that are no bodies: goals, and the point a task tracks."""

    def _body_pose(self, name: str) -> Pose:
        body = self.data.body(name)
        return Pose(body.xpos.copy(), body.xquat.copy())


class StockSimulator(Simulator):
    """One of MetaWorld's fifty environments."""

    def __init__(self, task: str, scene: str) -> None:
        self._task, self._scene = task, scene
        super().__init__(_stock_environment(task))
        self._expert = ENV_POLICY_MAP[f"{task}-v3"]()

    def expert(self) -> FloatArray:
        """The package's own scripted policy, clipped to the action range."""
        return scripted_action(self._expert, self._observation)

    def predicates(self) -> Mapping[str, bool]:
        """The states of a door, drawer or the like; empty where nothing is jointed."""
        return conditions_of(self._scene, self.model, self.data)

    def _reset(self, task: str, seed: int) -> None:
        self._expert = ENV_POLICY_MAP[f"{task}-v3"]()
        self.env.seed(seed)
        self.env.reset()

    def _judge(self, info: Mapping[str, Any]) -> StepResult:
        success = bool(info["success"])
        return StepResult(
            success=success,
            predicates={self._task: success, **self.predicates()},
            info={name: float(info[name]) for name in ("unscaled_reward", "obj_to_target")},
        )

    def _marks(self) -> Mapping[str, Pose]:
        tracked = np.asarray(self.env._get_pos_objects(), dtype=np.float64).reshape(-1, 3)
        names = ["object", *(f"object_{i}" for i in range(2, len(tracked) + 1))]
        marks = {name: Pose(at.copy()) for name, at in zip(names, tracked, strict=True)}
        return {**marks, "goal": Pose(np.array(self.env._get_pos_goal(), dtype=np.float64))}


def scripted_action(policy: Any, observation: Float64) -> FloatArray:
    """Ask a MetaWorld policy, without its warning that it will be clipped: it is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Constant\\(s\\) may be too high")
        action = policy.get_action(observation)
    clipped: FloatArray = np.clip(action, -1.0, 1.0).astype(np.float32)
    return clipped


def _stock_environment(task: str) -> Any:
    """An environment that shows its goal and draws its resets from its own seeded generator."""
    env = ALL_V3_ENVIRONMENTS[f"{task}-v3"]()
    unlock(env)
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    return env


def unlock(env: Any) -> None:
    """Allow steps without a MetaWorld benchmark object, for as long as the caller likes."""
    env._set_task_called = True
    env._partially_observable = False
    env.max_path_length = np.inf
    env.__dict__.pop("sawyer_observation_space", None)


def _thing_names(model: Any) -> tuple[str, ...]:
    """Named bodies that are neither part of the robot nor of the table and its walls."""
    outside = {"world", "tablelink", "RetainingWall", "mocap", "base"}

    def root(index: int) -> str:
        while model.body_parentid[index] > 0:
            index = model.body_parentid[index]
        return str(model.body(index).name)

    return tuple(
        str(model.body(i).name)
        for i in range(1, model.nbody)
        if model.body(i).name and root(i) not in outside
    )
