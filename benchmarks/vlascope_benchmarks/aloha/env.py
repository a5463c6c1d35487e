"""ALOHA as a vlascope benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, get_args

import numpy as np

from vlascope.benchmark import BenchmarkEnv, BenchmarkInfo, Task
from vlascope.errors import unknown_name
from vlascope.specs import ActionSpec, CameraSpec, StateSpec
from vlascope.types import FloatArray, Image, Observation, Pose, StepResult
from vlascope_benchmarks.aloha import tasks
from vlascope_benchmarks.mujoco_rendering import OffscreenRenderer, RenderMode, import_mujoco

if TYPE_CHECKING:
    from vlascope_benchmarks.aloha.expert import Expert
    from vlascope_benchmarks.aloha.simulator import Simulator

__all__ = ["CAMERAS", "JOINTS", "Aloha"]

CAMERAS = (
    "top",
    "angle",
    "front_close",
    "left_pillar",
    "right_pillar",
    "left_wrist",
    "right_wrist",
)

_ARM = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
JOINTS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in _ARM)
"""What the numbers of an action and of the state are, in order."""

_HZ = 50.0
_ACTION = ActionSpec(
    names=JOINTS,
    control="joint_absolute",
    frame="none",
    rotation="none",
    gripper="positive_opens",
    low=(*(-3.14158,) * 6, 0.0) * 2,
    high=(*(3.14158,) * 6, 1.0) * 2,
)
_STATE = StateSpec(
    names=JOINTS, units=tuple("1" if name.endswith("gripper") else "rad" for name in JOINTS)
)
_FRAME_HEIGHT = 256


@dataclass
class _Stage:
    """A loaded scene and, once they were needed, its renderer and its expert."""

    simulator: Simulator
    renderer: OffscreenRenderer | None = None
    expert: Expert | None = None

    def close(self) -> None:
        if self.renderer is not None:
            self.renderer.close()
        if self.expert is not None:
            self.expert.close()
        self.simulator.close()


class Aloha(BenchmarkEnv):
    """gym-aloha's two tasks: two arms hand over a cube, or insert a peg into a socket.

    An action is fourteen absolute targets: six joint angles in rad and the gripper's opening (0
    closed, 1 open), for the left arm and then for the right; what lies beyond a joint's own limits
    is held at them by the simulator. The state stream `joints` holds the same fourteen numbers as
    they are now. (task, seed) decides an initial state to the bit, the one that gym-aloha's own
    environment gives for that seed; equal actions lead to equal states.

    Args:
        camera: one of the scene's cameras.
        height, width: of the picture, in pixels.
        render: `"full"` draws what the package draws, `"fast"` neither shadows nor reflections nor
            anti-aliasing, in a fraction of the time.
        max_steps: control steps (50 per second) after which an episode is truncated.

    Raises:
        UnknownName: there is no such camera.
        ValueError: an option is out of range.
    """

    name: ClassVar[str] = "aloha"

    def __init__(
        self,
        *,
        camera: str = "top",
        height: int = 480,
        width: int = 640,
        render: RenderMode = "full",
        max_steps: int = 400,
    ) -> None:
        if camera not in CAMERAS:
            raise unknown_name("ALOHA camera", camera, CAMERAS)
        if render not in get_args(RenderMode):
            raise ValueError(f"render is 'fast' or 'full'; got {render!r}")
        for option, value in (("height", height), ("width", width), ("max_steps", max_steps)):
            if value < 1:
                raise ValueError(f"{option} is at least 1; got {value}")
        self._camera, self._size = camera, (height, width)
        self._render: RenderMode = render
        self._stages: dict[str, _Stage] = {}
        self._task: Task | None = None
        self._steps = 0
        self.info = BenchmarkInfo(
            name=self.name,
            action=_ACTION,
            state={"joints": _STATE},
            cameras={camera: CameraSpec(height=height, width=width, render=render)},
            max_steps=max_steps,
            hz=_HZ,
        )

    @classmethod
    def suites(cls) -> Mapping[str, tuple[Task, ...]]:
        """`all`: `transfer-cube` and `insertion`."""
        return tasks.suites()

    def start(self, task: Task, *, seed: int) -> None:
        """Put the task's scene in the state that `seed` (0 to 2**32 - 1) decides.

        Raises:
            UnknownName: the task is none of ALOHA's.
            ValueError: the seed is out of range.
            ModuleNotFoundError: gym-aloha is not installed.
        """
        known = self.task(task.name)
        if not 0 <= seed < 2**32:
            raise ValueError(f"a seed is a whole number from 0 to 2**32 - 1; got {seed}")
        if known.scene not in self._stages:
            self._stages[known.scene] = _Stage(_load(known.scene))
        self._stages[known.scene].simulator.begin(seed)
        self._task, self._steps = replace(known, instruction=task.instruction), 0

    def step(self, action: FloatArray) -> StepResult:
        """Hold fourteen targets, float32 (14,), for one control step of 20 ms.

        The episode ends (`terminated`) when the task succeeds, and in failure when the targets are
        so wild that the physics diverges (`info["diverged"]`; the package raises). `predicates`
        hold the task's own name and who touches what; `info` the package's reward, 0 to 4.

        Raises:
            ValueError: the action has another shape or is not finite.
        """
        wanted = np.asarray(action, dtype=np.float32)
        if wanted.shape != (len(JOINTS),) or not np.isfinite(wanted).all():
            raise ValueError(f"an action is fourteen finite numbers {JOINTS}; got {action!r}")
        result = self._now().simulator.step(wanted)
        self._steps += 1
        return replace(result, truncated=self._steps >= self.info.max_steps)

    def sense(self) -> Observation:
        """Draw the scene and read the joints.

        Raises:
            NoRenderer: no OpenGL works here; the message names the packages to install.
        """
        stage = self._now()
        assert self._task is not None
        return Observation(
            instruction=self._task.instruction,
            images={self._camera: self._picture(stage, *self._size)},
            state=self.proprioception(),
        )

    def proprioception(self) -> Mapping[str, FloatArray]:
        """`joints`: angles in rad and gripper openings, float32 (14,)."""
        return {"joints": self._now().simulator.joints()}

    def predicates(self) -> Mapping[str, bool]:
        """The conditions that `step` reports, as they hold now."""
        return self._now().simulator.predicates()

    def frame(self) -> Image:
        """The same view, large enough for people: at least 256 high, in the picture's shape."""
        return self._picture(self._now(), *self._frame_size)

    def scene_state(self) -> Mapping[str, Pose]:
        """Poses of the hands, `end_effector.left` and `.right`, and of `cube`, or `peg`, `socket`.

        A hand is the link that carries the fingers. `end_effector` is the right one, which picks up
        the cube and holds the peg.
        """
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
        """The planned expert's targets for this step of the episode: float32 (14,).

        The plan is made when it is first asked for, from where the things lay at the start, and
        follows the clock of the episode: it tracks its path again after a push to the arms, and
        does not know of a thing that was moved by something else.
        """
        stage = self._now()
        if stage.expert is None:
            from vlascope_benchmarks.aloha.expert import Expert

            stage.expert = Expert(stage.simulator.scene)
        return stage.expert.action(stage.simulator.initial, self._steps)

    def close(self) -> None:
        """Free every loaded scene; the next `start` loads again."""
        while self._stages:
            self._stages.popitem()[1].close()
        self._task = None

    @property
    def _frame_size(self) -> tuple[int, int]:
        """Height and width of `frame`."""
        height, width = self._size
        larger = max(1.0, _FRAME_HEIGHT / height)
        return round(height * larger), round(width * larger)

    def _now(self) -> _Stage:
        if self._task is None:
            raise RuntimeError("no episode has begun: call reset(task, seed=...) first")
        return self._stages[self._task.scene]

    def _picture(self, stage: _Stage, height: int, width: int) -> Image:
        simulator = stage.simulator
        if stage.renderer is None:
            stage.renderer = OffscreenRenderer(
                simulator.model, mode=self._render, max_size=max(self._frame_size)
            )
        drawn = stage.renderer(simulator.data, camera=self._camera, height=height, width=width)
        return np.ascontiguousarray(drawn)


def _load(scene: str) -> Simulator:
    """Load a scene, having chosen an OpenGL before MuJoCo is imported."""
    import_mujoco()
    try:
        from vlascope_benchmarks.aloha.simulator import Simulator
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("gym_aloha", "dm_control"):
            raise
        raise ModuleNotFoundError(
            "ALOHA needs gym-aloha, which is not installed: pip install 'vlascope[aloha]'",
            name=error.name,
        ) from error
    return Simulator(scene)
