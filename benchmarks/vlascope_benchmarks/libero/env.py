"""LIBERO and LIBERO-PRO as a vlascope benchmark."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, get_args

import numpy as np

from vlascope.benchmark import BenchmarkEnv, BenchmarkInfo, Task
from vlascope.types import FloatArray, Image, Observation, Pose, StepResult
from vlascope_benchmarks.libero import specs, tasks
from vlascope_benchmarks.libero.specs import CAMERAS, Control
from vlascope_benchmarks.mujoco_rendering import OffscreenRenderer, RenderMode

if TYPE_CHECKING:
    from vlascope_benchmarks.libero.expert import Expert
    from vlascope_benchmarks.libero.simulator import Simulator

__all__ = ["Libero"]

_COLLISION_GROUP = 0
_FRAME = 256


@dataclass
class _Stage:
    """A loaded task and, once something was drawn, its renderer."""

    simulator: Simulator
    renderer: OffscreenRenderer | None = None

    def close(self) -> None:
        if self.renderer is not None:
            self.renderer.close()
            self.renderer = None
        self.simulator.close()


class Libero(BenchmarkEnv):
    """LIBERO's 130 tasks, `libero_goal/put_the_bowl_on_the_plate`, and LIBERO-PRO's 160 variants.

    Pictures, state, control, settling and lengths of episodes are those of lerobot's LIBERO
    environment and its processor. A seed plays the task's official initial state of that number,
    modulo their number (50), and draws where the fixtures stand, which no initial state says: seeds
    3 and 53 share the state and differ in the fixtures, by up to a centimetre.

    Args:
        control: `"delta"` takes steps of the gripper in [-1, 1] (5 cm and half a radian a unit);
            `"absolute"` takes its pose in metres and as an axis-angle vector.
        size: height and width of the pictures in pixels.
        render: `"full"` draws what robosuite draws; `"fast"` leaves out shadows, reflections and
            anti-aliasing and looks different to a policy.
        max_steps: control steps after which an episode is truncated; None for the suite's own
            number, from 280 to 520, which `info` has while a task of the suite is played.
        keep: how many tasks stay loaded; the one used longest ago is closed first.
        assets: a folder of LIBERO's meshes and textures, or `hub`; by default
            `VLASCOPE_LIBERO_ASSETS`, else the installed packages.
        pro: a folder with LIBERO-PRO's task files and initial states; by default
            `VLASCOPE_LIBERO_PRO`.

    Raises:
        UnknownName: there is no such way of control.
        ValueError: an option is out of range.
    """

    name: ClassVar[str] = "libero"

    def __init__(
        self,
        *,
        control: Control = "delta",
        size: int = 256,
        render: RenderMode = "full",
        max_steps: int | None = None,
        keep: int = 4,
        assets: str | Path | None = None,
        pro: str | Path | None = None,
    ) -> None:
        self._action = specs.action(control)
        if render not in get_args(RenderMode):
            raise ValueError(f"render is 'fast' or 'full'; got {render!r}")
        for option, value in (("size", size), ("max_steps", max_steps), ("keep", keep)):
            if value is not None and value < 1:
                raise ValueError(f"{option} is at least 1; got {value}")
        self._control: Control = control
        self._render: RenderMode = render
        self._size, self._keep, self._max_steps = size, keep, max_steps
        self._assets, self._pro = assets, pro
        self._stages: OrderedDict[str, _Stage] = OrderedDict()
        self._task: Task | None = None
        self._expert: Expert | None = None
        self._steps = 0
        self.info = BenchmarkInfo(
            name=self.name,
            action=self._action,
            state=specs.STATE,
            cameras=specs.cameras(size, render),
            max_steps=max_steps or max(tasks.MAX_STEPS.values()),
            hz=specs.HZ,
        )

    @classmethod
    def suites(cls) -> Mapping[str, tuple[Task, ...]]:
        """LIBERO's five suites, and four of LIBERO-PRO's variants of each but `libero_90`."""
        return tasks.suites()

    def start(self, task: Task, *, seed: int) -> None:
        """Put the scene in the initial state that `seed` (not negative) names, and let it settle.

        Raises:
            UnknownName: the task is none of LIBERO's.
            ValueError: the seed is negative.
            FileMissing: assets or task files are not there; says which, and how to get them.
        """
        known = self.task(task.name)
        if seed < 0:
            raise ValueError(f"a seed is 0 or more; got {seed}")
        self._stage_of(known).simulator.begin(seed, self._control)
        self._task, self._steps = replace(known, instruction=task.instruction), 0
        self._expert = None
        limit = self._max_steps or tasks.place(task.name).max_steps
        self.info = replace(self.info, max_steps=limit)

    def step(self, action: FloatArray) -> StepResult:
        """Apply one action, float32 (7,); steps (not poses) are clipped to [-1, 1].

        The episode ends (`terminated`) when the task succeeds. `predicates` hold the goals of every
        task that starts from this scene, by the task's name, the conditions they are made of, and
        what the gripper touches and grasps.

        Raises:
            ValueError: the action has another shape or is not finite.
        """
        moved = np.asarray(action, dtype=np.float32)
        if moved.shape != (7,) or not np.isfinite(moved).all():
            raise ValueError(
                f"an action is seven finite numbers {self._action.names}; got {action!r}"
            )
        simulator = self._now().simulator
        simulator.step(np.clip(moved, -1.0, 1.0) if self._control == "delta" else moved)
        self._steps += 1
        success = simulator.success()
        return StepResult(
            success=success,
            terminated=success,
            truncated=self._steps >= self.info.max_steps,
            predicates=simulator.predicates(),
        )

    def sense(self) -> Observation:
        """Draw both cameras and read the robot.

        Raises:
            NoRenderer: no OpenGL works here; the message names the packages to install.
        """
        stage = self._now()
        assert self._task is not None
        return Observation(
            instruction=self._task.instruction,
            images={name: self._picture(stage, name, self._size) for name in CAMERAS},
            state=self.proprioception(),
        )

    def proprioception(self) -> Mapping[str, FloatArray]:
        """The four state streams, float32."""
        return self._now().simulator.state()

    def predicates(self) -> Mapping[str, bool]:
        """The conditions that `step` reports, as they hold now."""
        return self._now().simulator.predicates()

    def frame(self) -> Image:
        """`agentview`, large enough for people: uint8 (256, 256, 3) or the picture's own size."""
        return self._picture(self._now(), "agentview", self._frame_size)

    def scene_state(self) -> Mapping[str, Pose]:
        """Poses of `end_effector`, of every object and fixture, and of the places tasks name."""
        return self._now().simulator.poses()

    def configuration(self) -> FloatArray:
        """Joint positions as drawn now, float32 (n,)."""
        return self._now().simulator.configuration()

    def show(self, configuration: FloatArray) -> None:
        """Put the begun episode's scene as `configuration()` told it once, to be looked at.

        Raises:
            ValueError: the configuration is of another scene.
        """
        self._now().simulator.show(configuration)

    def expert(self) -> FloatArray:
        """What the scripted expert does now, float32 (7,), for tasks that it knows.

        Raises:
            CapabilityMissing: it does not know this task, or control is absolute.
        """
        if self._expert is None:
            from vlascope_benchmarks.libero.expert import expert_for

            simulator = self._now().simulator
            self._expert = expert_for(simulator, self._control)
        return self._expert()

    def close(self) -> None:
        """Free every loaded task; the next `start` loads again."""
        while self._stages:
            self._stages.popitem()[1].close()
        self._task = self._expert = None

    @property
    def _frame_size(self) -> int:
        return max(self._size, _FRAME)

    def _now(self) -> _Stage:
        if self._task is None:
            raise RuntimeError("no episode has begun: call reset(task, seed=...) first")
        return self._stages[self._task.name]

    def _stage_of(self, task: Task) -> _Stage:
        """The task, loaded when it is not; the one used longest ago makes room."""
        if task.name not in self._stages:
            from vlascope_benchmarks.libero.simulator import Simulator

            while len(self._stages) >= self._keep:
                self._stages.popitem(last=False)[1].close()
            place = tasks.place(task.name)
            loaded = Simulator(place, task.scene, assets=self._assets, pro=self._pro)
            self._stages[task.name] = _Stage(loaded)
        self._stages.move_to_end(task.name)
        return self._stages[task.name]

    def _picture(self, stage: _Stage, camera: str, size: int) -> Image:
        """As policies see it: upright, and mirrored left to right as in LIBERO's data sets."""
        simulator = stage.simulator
        if stage.renderer is None:
            stage.renderer = OffscreenRenderer(
                simulator.model,
                mode=self._render,
                max_size=self._frame_size,
                hidden_groups=(_COLLISION_GROUP,),
            )
        with simulator.moment.shown() as data:
            raw = stage.renderer(data, camera=CAMERAS[camera], height=size, width=size)
        return np.ascontiguousarray(raw[:, ::-1])
