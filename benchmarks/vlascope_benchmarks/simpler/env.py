"""SimplerEnv's WidowX tasks as a vlascope benchmark."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, get_args

from vlascope.benchmark import BenchmarkEnv, BenchmarkInfo, Task
from vlascope.errors import CapabilityMissing
from vlascope.specs import CameraSpec
from vlascope.types import FloatArray, Image, Observation, Pose, StepResult
from vlascope_benchmarks.simpler import tasks
from vlascope_benchmarks.simpler.assets import require_assets
from vlascope_benchmarks.simpler.conversion import ACTION, STATE, to_controller
from vlascope_benchmarks.simpler.vulkan import Device, require_renderer

if TYPE_CHECKING:
    from vlascope_benchmarks.simpler.simulator import TwinSimulator

__all__ = ["Simpler"]

_CAMERA = "3rd_view_camera"
_HEIGHT, _WIDTH, _HZ = 480, 640, 5.0


class Simpler(BenchmarkEnv):
    """Four digital twins of the Bridge data set's WidowX tasks (`widowx_carrot_on_plate`).

    An action is seven numbers in the robot's base frame, as in SimplerEnv: the gripper's
    displacement in metres, its rotation vector in radians, and 1 to open or -1 to close. Each
    counts from the last target, not from where the arm is. The seed picks an initial state: seed
    modulo 24, or 64 for the eggplant, is SimplerEnv's `episode_id`, so there are no more than that
    many different episodes of a task.

    Args:
        device: what draws, `"cpu"` for a software Vulkan driver or `"gpu"`. Physics is on the CPU.
        max_steps: control steps after which an episode is truncated; None for SimplerEnv's own, 60
            and 120 for the eggplant. `info.max_steps` is that of the task being played.
        keep: how many twins stay loaded; the one used longest ago is closed first.

    Raises:
        ValueError: an option is out of range.
    """

    name: ClassVar[str] = "simpler"
    expected_failures: ClassVar[Mapping[str, str]] = {
        "scene_state_present": "random actions over the simulator's own range ask for metres at "
        "once; such targets are out of reach, and the arm then stays exactly where it is"
    }

    def __init__(
        self, *, device: Device = "cpu", max_steps: int | None = None, keep: int = 4
    ) -> None:
        if device not in get_args(Device):
            raise ValueError(f"device is 'cpu' or 'gpu'; got {device!r}")
        if keep < 1 or (max_steps is not None and max_steps < 1):
            raise ValueError(f"keep and max_steps are at least 1; got {keep} and {max_steps}")
        self._device: Device = device
        self._max_steps, self._keep = max_steps, keep
        self._twins: OrderedDict[str, TwinSimulator] = OrderedDict()
        self._task: Task | None = None
        self._steps = 0
        self.info = BenchmarkInfo(
            name=self.name,
            action=ACTION,
            state=STATE,
            cameras={_CAMERA: CameraSpec(height=_HEIGHT, width=_WIDTH, render="full")},
            max_steps=max_steps or next(iter(tasks.TWINS.values())).max_steps,
            hz=_HZ,
        )

    @classmethod
    def suites(cls) -> Mapping[str, tuple[Task, ...]]:
        """`widowx`, and its parts `table` and `sink`."""
        return tasks.suites()

    @classmethod
    def task(cls, name: str) -> Task:
        """The task of that name.

        Raises:
            CapabilityMissing: it is a Google-robot task, which needs another simulator.
            UnknownName: no task goes by that name; near matches are listed.
        """
        if name in tasks.REMOTE_TASKS:
            raise CapabilityMissing(
                f"{name} exists only in ManiSkill2_real2sim (sapien 2.2.2, Python 3.11 or older), "
                "which cannot share a process with vlascope: run SimplerEnv's own evaluation in an "
                "environment of its own, and let it ask the policy over the network (untested)"
            )
        return super().task(name)

    def start(self, task: Task, *, seed: int) -> None:
        """Put the task's twin in the initial state that `seed` (not negative) picks.

        Raises:
            ModuleNotFoundError: ManiSkill is not installed.
            FileMissing: the twin's assets are not there; says which, where and how to get them.
            NoRenderer: no Vulkan device; says what to install.
            ValueError: the seed is negative.
        """
        known = self.task(task.name)
        if seed < 0:
            raise ValueError(f"a seed is 0 or more; got {seed}")
        self._twin_of(known).begin(seed)
        self._task, self._steps = replace(known, instruction=task.instruction), 0
        limit = self._max_steps or tasks.TWINS[known.name].max_steps
        self.info = replace(self.info, max_steps=limit)

    def step(self, action: FloatArray) -> StepResult:
        """Apply one action, float32 (7,), clipped to the action's range.

        The episode ends (`terminated`) when ManiSkill calls the task a success. `predicates` hold
        the task's own name and, with the names of its things, `carrot_grasped`, `carrot_lifted`
        (2 cm), `carrot_over_plate` (seen from above), `carrot_on_plate` (and at its height) and
        `carrot_touches_plate`.

        Raises:
            ValueError: the action has another shape or is not finite.
        """
        to_controller(action)
        result = self._now().step(action)
        self._steps += 1
        return replace(result, truncated=self._steps >= self.info.max_steps)

    def sense(self) -> Observation:
        """Draw the scene and read the arm."""
        twin = self._now()
        assert self._task is not None
        return Observation(
            instruction=self._task.instruction,
            images={_CAMERA: twin.picture()},
            state=twin.proprio(),
        )

    def proprioception(self) -> Mapping[str, FloatArray]:
        """The gripper's pose in the base frame, the joints and the gripper's opening."""
        return self._now().proprio()

    def predicates(self) -> Mapping[str, bool]:
        """What `step` reports beside the task's own success, as it holds now."""
        return self._now().predicates()

    def scene_state(self) -> Mapping[str, Pose]:
        """World poses of `end_effector`, of the thing to move and of the place to put it."""
        return self._now().poses()

    def frame(self) -> Image:
        """The policy's own view, uint8 (480, 640, 3)."""
        return self._now().picture()

    def expert(self) -> FloatArray:
        """What the scripted pick-and-place expert does now: float32 (7,); ask once per step."""
        return self._now().expert()

    def close(self) -> None:
        """Free every loaded twin; the next `start` loads again."""
        while self._twins:
            self._twins.popitem()[1].close()
        self._task = None

    def _now(self) -> TwinSimulator:
        if self._task is None:
            raise RuntimeError("no episode has begun: call reset(task, seed=...) first")
        return self._twins[self._task.name]

    def _twin_of(self, task: Task) -> TwinSimulator:
        """The task's twin, loaded when it is not; the one used longest ago makes room."""
        if task.name not in self._twins:
            while len(self._twins) >= self._keep:
                self._twins.popitem(last=False)[1].close()
            self._twins[task.name] = _load(tasks.TWINS[task.name], self._device)
        self._twins.move_to_end(task.name)
        return self._twins[task.name]


def _load(twin: tasks.Twin, device: Device) -> TwinSimulator:
    """Build a twin, after everything that it needs was found to be there."""
    for module in ("sapien", "mani_skill"):
        if find_spec(module) is None:
            raise ModuleNotFoundError(
                f"this benchmark needs {module}, which is not installed: "
                "pip install 'vlascope[simpler]'",
                name=module,
            )
    require_assets(twin)
    require_renderer(device)
    from vlascope_benchmarks.simpler.simulator import TwinSimulator

    return TwinSimulator(twin, device)
