"""MetaWorld as a vlascope benchmark."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, get_args

import numpy as np

from vlascope.benchmark import BenchmarkEnv, BenchmarkInfo, Task
from vlascope.errors import unknown_name
from vlascope.specs import ActionSpec, CameraSpec, StateSpec
from vlascope.types import FloatArray, Image, Observation, Pose, StepResult
from vlascope_benchmarks.metaworld import tasks
from vlascope_benchmarks.mujoco_rendering import OffscreenRenderer, RenderMode, import_mujoco

if TYPE_CHECKING:
    from vlascope_benchmarks.metaworld.simulators import Simulator

__all__ = ["CAMERAS", "MetaWorld"]

CAMERAS: Mapping[str, int] = {
    "corner": 2,
    "corner2": 2,
    "corner3": 2,
    "topview": 0,
    "behindGripper": 0,
    "gripperPOV": 0,
}
"""Camera name to the quarter turns that put its picture upright."""

_HZ = 80.0
_ACTION = ActionSpec(
    names=("x", "y", "z", "gripper"),
    control="ee_delta",
    frame="world",
    rotation="none",
    gripper="positive_closes",
    low=(-1.0, -1.0, -1.0, -1.0),
    high=(1.0, 1.0, 1.0, 1.0),
)
_PROPRIO = StateSpec(names=("x", "y", "z", "gripper"), units=("m", "m", "m", "1"))


@dataclass
class _Stage:
    """A loaded scene and, once something was drawn, its renderer."""

    simulator: Simulator
    renderer: OffscreenRenderer | None = None

    def close(self) -> None:
        if self.renderer is not None:
            self.renderer.close()
            self.renderer = None
        self.simulator.close()


class MetaWorld(BenchmarkEnv):
    """Fifty MetaWorld v3 tasks (`faucet-open`) and eight in one scene (`multi/open-drawer`).

    An action is four numbers in [-1, 1]: the hand's displacement in the world frame, one unit being
    1 cm, and the gripper, which closes on positive numbers. The state stream `proprio` is the
    hand's position in metres and the gripper's opening. (task, seed) decides an initial state to
    the bit; one seed gives all eight `multi/` tasks the same initial state and picture.

    Args:
        camera: one of MetaWorld's cameras. `corner2` is moved nearer, as in published work.
        size: height and width of the picture in pixels.
        render: `"fast"` draws no shadows, reflections or anti-aliasing and takes a fraction of the
            time; `"full"` draws what the package draws.
        max_steps: control steps after which an episode is truncated.
        keep: how many scenes stay loaded, at about 75 MB each; the one used longest ago is closed
            first.

    Raises:
        UnknownName: there is no such camera.
        ValueError: an option is out of range.
    """

    name: ClassVar[str] = "metaworld"

    def __init__(
        self,
        *,
        camera: str = "corner2",
        size: int = 96,
        render: RenderMode = "fast",
        max_steps: int = 200,
        keep: int = 4,
    ) -> None:
        if camera not in CAMERAS:
            raise unknown_name("MetaWorld camera", camera, CAMERAS)
        if render not in get_args(RenderMode):
            raise ValueError(f"render is 'fast' or 'full'; got {render!r}")
        for option, value in (("size", size), ("max_steps", max_steps), ("keep", keep)):
            if value < 1:
                raise ValueError(f"{option} is at least 1; got {value}")
        self._camera, self._size, self._keep = camera, size, keep
        self._render: RenderMode = render
        self._stages: OrderedDict[str, _Stage] = OrderedDict()
        self._task: Task | None = None
        self._steps = 0
        self.info = BenchmarkInfo(
            name=self.name,
            action=_ACTION,
            state={"proprio": _PROPRIO},
            cameras={camera: CameraSpec(height=size, width=size, render=render)},
            max_steps=max_steps,
            hz=_HZ,
        )

    @classmethod
    def suites(cls) -> Mapping[str, tuple[Task, ...]]:
        """`all`, four difficulties, `shared_scene`, `unique_scene` and `multi_goal`."""
        return tasks.suites()

    def start(self, task: Task, *, seed: int) -> None:
        """Put the task's scene in the state that `seed` (not negative) decides.

        Raises:
            UnknownName: the task is none of MetaWorld's.
            ValueError: the seed is negative.
        """
        known = self.task(task.name)
        if seed < 0:
            raise ValueError(f"a seed is 0 or more; got {seed}")
        self._stage_of(known).simulator.begin(task.name, seed)
        self._task, self._steps = replace(known, instruction=task.instruction), 0

    def step(self, action: FloatArray) -> StepResult:
        """Apply one action, float32 (4,), clipped to [-1, 1].

        The episode ends (`terminated`) when the task succeeds. `predicates` hold the task's own
        name and the state that a door, drawer or the like is in; in the `multi_goal` suite all
        eight task names. `info` holds two of the package's own figures, as it reports them.

        Raises:
            ValueError: the action has another shape or is not finite.
        """
        moved = np.asarray(action, dtype=np.float32)
        if moved.shape != (4,) or not np.isfinite(moved).all():
            raise ValueError(f"an action is four finite numbers {_ACTION.names}; got {action!r}")
        result = self._now().simulator.step(np.clip(moved, -1.0, 1.0))
        self._steps += 1
        return StepResult(
            success=result.success,
            terminated=result.success,
            truncated=self._steps >= self.info.max_steps,
            predicates=result.predicates,
            info=result.info,
        )

    def sense(self) -> Observation:
        """Draw the scene and read the hand.

        Raises:
            NoRenderer: no OpenGL works here; the message names the packages to install.
        """
        stage = self._now()
        assert self._task is not None
        return Observation(
            instruction=self._task.instruction,
            images={self._camera: self._picture(stage, self._size)},
            state=self.proprioception(),
        )

    def proprioception(self) -> Mapping[str, FloatArray]:
        """`proprio`: the hand in metres and the gripper's opening, float32 (4,)."""
        return {"proprio": self._now().simulator.proprio()}

    def predicates(self) -> Mapping[str, bool]:
        """The states that `step` reports beside the task's own success, as they hold now."""
        return self._now().simulator.predicates()

    def frame(self) -> Image:
        """The same view, large enough for people: uint8 (256, 256, 3) or the picture's own size."""
        return self._picture(self._now(), self._frame_size)

    def scene_state(self) -> Mapping[str, Pose]:
        """Poses of `end_effector`, of the scene's bodies by their MuJoCo names, and of the goals.

        `object` (and `object_2`) is the point that the task's success looks at, `goal` where it
        should be; these, and the balls and handles of the `multi_goal` scene, have no orientation.
        """
        return self._now().simulator.poses()

    def configuration(self) -> FloatArray:
        """Joint positions and the hand's target as drawn now, float32 (n,)."""
        return self._now().simulator.configuration()

    def show(self, configuration: FloatArray) -> None:
        """Put the begun episode's scene as `configuration()` told it once, to be looked at.

        Raises:
            ValueError: the configuration is of another scene.
        """
        self._now().simulator.show(configuration)

    def expert(self) -> FloatArray:
        """What MetaWorld's scripted policy does now: float32 (4,)."""
        return self._now().simulator.expert()

    def close(self) -> None:
        """Free every loaded scene; the next `start` loads again."""
        while self._stages:
            self._stages.popitem()[1].close()
        self._task = None

    @property
    def _frame_size(self) -> int:
        return max(self._size, 256)

    def _now(self) -> _Stage:
        if self._task is None:
            raise RuntimeError("no episode has begun: call reset(task, seed=...) first")
        return self._stages[_scene_key(self._task)]

    def _stage_of(self, task: Task) -> _Stage:
        """The task's scene, loaded when it is not; the one used longest ago makes room."""
        key = _scene_key(task)
        if key not in self._stages:
            while len(self._stages) >= self._keep:
                self._stages.popitem(last=False)[1].close()
            self._stages[key] = _Stage(_load(task))
        self._stages.move_to_end(key)
        return self._stages[key]

    def _picture(self, stage: _Stage, size: int) -> Image:
        if stage.renderer is None:
            stage.renderer = OffscreenRenderer(
                stage.simulator.model, mode=self._render, max_size=self._frame_size
            )
        raw = stage.renderer(stage.simulator.data, camera=self._camera, height=size, width=size)
        return np.ascontiguousarray(np.rot90(raw, CAMERAS[self._camera]))


def _load(task: Task) -> Simulator:
    """Load the simulator of the task's scene, having chosen an OpenGL before MuJoCo is imported."""
    import_mujoco()
    if task.scene == tasks.MULTI_GOAL_SCENE:
        from vlascope_benchmarks.metaworld.multi_goal import MultiGoalSimulator

        return MultiGoalSimulator()
    from vlascope_benchmarks.metaworld.simulators import StockSimulator

    return StockSimulator(task.name, task.scene)


def _scene_key(task: Task) -> str:
    """Tasks with one key are played in one loaded simulator."""
    return task.scene if task.scene == tasks.MULTI_GOAL_SCENE else task.name
