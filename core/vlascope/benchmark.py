"""The contract a simulator fulfils to be a benchmark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from vlascope.errors import CapabilityMissing, unknown_name
from vlascope.specs import ActionSpec, CameraSpec, StateSpec
from vlascope.types import FloatArray, Image, Observation, Pose, StepResult

__all__ = ["BenchmarkEnv", "BenchmarkInfo", "ImageEdit", "Task"]

ImageEdit = Callable[[str, Image], Image]
"""`(camera, picture) -> picture`, same shape and dtype: a perturbation of what is seen."""


@dataclass(frozen=True)
class Task:
    """One thing to do, known by its name.

    Attributes:
        name: unique in its benchmark.
        instruction: the natural-language prompt.
        paraphrases: other ways to say the same.
        scene: tasks of one scene start from pictures that look alike.
        tags: free labels such as `"easy"`.
        verb: what is done, as the instruction says it (`"open"`).
        object: what it is done to, word for word as in the instruction (`"the drawer"`).
        motor: the movement alone, naming no object (`"pull toward yourself"`).
        opposite: the name of the task that undoes this one.

    The last four are optional; counterfactual instructions are made from them.
    """

    name: str
    instruction: str
    paraphrases: tuple[str, ...] = ()
    scene: str = ""
    tags: tuple[str, ...] = ()
    verb: str = ""
    object: str = ""
    motor: str = ""
    opposite: str = ""


@dataclass(frozen=True)
class BenchmarkInfo:
    """What holds of a benchmark environment whatever task it plays.

    Attributes:
        name: the registered name.
        action: what `step` takes.
        state: the proprioceptive streams of an observation.
        cameras: the pictures of an observation.
        max_steps: environment steps after which an episode is truncated; where tasks differ in it,
            the present task's, and the most of all before one is played.
        hz: control rate in steps per second of simulated time.
    """

    name: str
    action: ActionSpec
    state: Mapping[str, StateSpec]
    cameras: Mapping[str, CameraSpec]
    max_steps: int
    hz: float


class BenchmarkEnv(ABC):
    """A simulator that plays named tasks; `suites`, `start`, `step` and `sense` are required.

    Physics and pictures are apart: `step` never renders, `observe` does. All state belongs to the
    object, so one process may hold several environments.
    """

    name: ClassVar[str]
    info: BenchmarkInfo
    perturb: ImageEdit | None = None
    """Applied to every picture of every observation when set."""

    @classmethod
    @abstractmethod
    def suites(cls) -> Mapping[str, tuple[Task, ...]]:
        """Named groups of tasks; cheap, starts no simulator."""

    @abstractmethod
    def start(self, task: Task, *, seed: int) -> None:
        """Put the scene of `task` in the initial state that `seed` decides, and nothing else."""

    @abstractmethod
    def step(self, action: FloatArray) -> StepResult:
        """Apply one action, float32 (action_dim,), and say what it led to, without rendering."""

    @abstractmethod
    def sense(self) -> Observation:
        """Render and read the present state; the instruction is the task's own."""

    def reset(self, task: str, *, seed: int) -> Observation:
        """Begin an episode of the named task and look at it.

        Raises:
            UnknownName: no task goes by that name; near matches are listed.
        """
        self.start(self.task(task), seed=seed)
        return self.observe()

    def observe(self) -> Observation:
        """What the policy gets to see now: `sense`, with `perturb` applied to every picture."""
        seen = self.sense()
        if self.perturb is None:
            return seen
        images = {camera: self.perturb(camera, image) for camera, image in seen.images.items()}
        return replace(seen, images=images)

    @classmethod
    def tasks(cls, suite: str | None = None) -> tuple[Task, ...]:
        """The tasks of one suite, or of all, each once.

        Raises:
            UnknownName: no suite goes by that name.
        """
        suites = cls.suites()
        if suite is None:
            return tuple({t.name: t for tasks in suites.values() for t in tasks}.values())
        if suite not in suites:
            raise unknown_name("suite", suite, suites)
        return suites[suite]

    @classmethod
    def task(cls, name: str) -> Task:
        """The task of that name."""
        by_name = {t.name: t for t in cls.tasks()}
        if name not in by_name:
            raise unknown_name(f"{cls.name} task", name, by_name)
        return by_name[name]

    def scene_state(self) -> Mapping[str, Pose]:
        """Poses of the things in the scene by name; `"end_effector"` is always among them.

        Names that begin with `end_effector.` are further hands (`"end_effector.left"`); what is
        measured of objects leaves them out.
        """
        raise CapabilityMissing(
            f"{self.name} gives no scene state; override scene_state() to return object poses"
        )

    def proprioception(self) -> Mapping[str, FloatArray] | None:
        """The state streams of `sense`, without rendering; None where they cost a picture.

        Asked at every step, so that an episode's record holds the state between looks.
        """
        return None

    def predicates(self) -> Mapping[str, bool]:
        """Named conditions of the scene at this moment that need no step to be judged.

        Asked once when an episode begins, so that what held from the start is not taken for
        something the robot did.
        """
        return {}

    def frame(self) -> Image:
        """A picture for people (videos, film strips), uint8 (height, width, 3)."""
        return next(iter(self.sense().images.values()))

    def configuration(self) -> FloatArray | None:
        """Where everything that moves is, as it would be drawn now, float32 (n,).

        Kept at every step of an episode, so that `show` can draw it afterwards; None where the
        benchmark cannot tell it.
        """
        return None

    def show(self, configuration: FloatArray) -> None:
        """Put the begun episode's scene as `configuration()` told it once, to be looked at.

        The episode cannot be played on from there: start another one before the next `step`.
        """
        raise CapabilityMissing(
            f"{self.name} cannot show a kept configuration; override configuration() and show()"
        )

    def expert(self) -> FloatArray:
        """What a scripted expert would do now in the present task, float32 (action_dim,)."""
        raise CapabilityMissing(f"{self.name} has no scripted expert for this task")

    def close(self) -> None:  # noqa: B027
        """Free the simulator; closing twice is fine."""
