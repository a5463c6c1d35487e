"""A point that goes to coloured goals.

| suite    | in sight                    | what the prompt decides                               |
|----------|-----------------------------|-------------------------------------------------------|
| `unique` | one goal of one colour      | nothing: there is one place to go                     |
| `shared` | a red, a green, a blue goal | everything: the three tasks start from equal pictures |

One seed gives all three `shared` tasks the same goals, start and picture. `predicates` hold the
name of every task that the scene offers, at every step, so that a prompt × behaviour matrix falls
out. A goal counts as reached once the point has stayed with it, so that passing by is no success.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from vlascope.benchmark import BenchmarkEnv, BenchmarkInfo, Task
from vlascope.specs import ActionSpec, CameraSpec, StateSpec
from vlascope.types import FloatArray, Image, Observation, Pose, StepResult
from vlascope_benchmarks.toy import tasks

__all__ = ["NEAR", "STAY", "ToyBenchmark"]

NEAR = 0.15
"""How close to a goal counts, in metres."""
STAY = 4
"""For how many steps in a row; at full speed the point is near a goal for three at most."""

_CAMERA, _STREAM = "top", "position"
_SECONDS_PER_STEP = 0.1
_ENLARGED = 12


class ToyBenchmark(BenchmarkEnv):
    """Go to the point the prompt names; an action is a velocity in m/s, clipped to [-1, 1].

    Args:
        max_steps: steps (of 0.1 s) after which an episode is truncated.

    Raises:
        ValueError: `max_steps` is less than 1.
    """

    name: ClassVar[str] = "toy"

    def __init__(self, *, max_steps: int = 40) -> None:
        if max_steps < 1:
            raise ValueError(f"max_steps is at least 1; got {max_steps}")
        self.info = BenchmarkInfo(
            name=self.name,
            action=ActionSpec(
                names=("x", "y"),
                control="point_velocity",
                frame="world",
                rotation="none",
                gripper="none",
                low=(-1.0, -1.0),
                high=(1.0, 1.0),
            ),
            state={_STREAM: StateSpec(names=("x", "y"), units=("m", "m"))},
            cameras={_CAMERA: CameraSpec(tasks.PIXELS, tasks.PIXELS, render="fast")},
            max_steps=max_steps,
            hz=1 / _SECONDS_PER_STEP,
        )
        self._task: Task | None = None
        self._goals: dict[str, npt.NDArray[np.float64]] = {}
        self._position: npt.NDArray[np.float64] = np.zeros(2)
        self._stayed: dict[str, int] = {}
        self._steps = 0

    @classmethod
    def suites(cls) -> Mapping[str, tuple[Task, ...]]:
        """`unique` and `shared`."""
        return tasks.suites()

    def start(self, task: Task, *, seed: int) -> None:
        """Lay out the task's scene as `seed` (not negative) decides."""
        if seed < 0:
            raise ValueError(f"a seed is 0 or more; got {seed}")
        self._goals, self._position = tasks.layout(task.scene, seed)
        self._task, self._steps, self._stayed = task, 0, dict.fromkeys(self._goals, 0)

    def step(self, action: FloatArray) -> StepResult:
        """Move for 0.1 s at `action`, float32 (2,), in m/s.

        Raises:
            ValueError: the action has another shape or is not finite.
        """
        task = self._now()
        velocity: npt.NDArray[np.float64] = np.asarray(action, dtype=np.float64)
        if velocity.shape != (2,) or not np.isfinite(velocity).all():
            raise ValueError(f"an action is two finite numbers (x, y); got {action!r}")
        moved = self._position + _SECONDS_PER_STEP * np.clip(velocity, -1, 1)
        self._position = np.clip(moved, -1, 1)
        self._steps += 1
        for colour in self._goals:
            near = self._distance(colour) <= NEAR
            self._stayed[colour] = self._stayed[colour] + 1 if near else 0
        kind, wanted = task.name.split("/")
        return StepResult(
            success=self._stayed[wanted] >= STAY,
            truncated=self._steps >= self.info.max_steps,
            predicates={f"{kind}/{c}": stayed >= STAY for c, stayed in self._stayed.items()},
            info={"distance": {colour: self._distance(colour) for colour in self._goals}},
        )

    def sense(self) -> Observation:
        """The picture from above (y up, x to the right) and the point's position."""
        return Observation(
            instruction=self._now().instruction,
            images={_CAMERA: self._picture()},
            state=self.proprioception(),
        )

    def proprioception(self) -> Mapping[str, FloatArray]:
        """`position`, float32 (2,) in metres."""
        self._now()
        return {_STREAM: self._position.astype(np.float32)}

    def frame(self) -> Image:
        """The picture, enlarged to 192 x 192."""
        self._now()
        return self._picture().repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)

    def scene_state(self) -> Mapping[str, Pose]:
        """`end_effector` and `goal.<colour>` of every goal in sight; z is 0."""
        self._now()
        goals = {f"goal.{colour}": _pose(xy) for colour, xy in self._goals.items()}
        return {"end_effector": _pose(self._position), **goals}

    def configuration(self) -> FloatArray:
        """The point's position, float32 (2,); goals do not move."""
        self._now()
        return self._position.astype(np.float32)

    def show(self, configuration: FloatArray) -> None:
        """Put the point there.

        Raises:
            ValueError: it is no position.
        """
        self._now()
        if configuration.shape != (2,):
            raise ValueError(f"a point's position is (2,); got {configuration.shape}")
        self._position = configuration.astype(np.float64)

    def expert(self) -> FloatArray:
        """Straight to the task's goal, float32 (2,) in m/s."""
        colour = self._now().name.split("/")[1]
        return np.clip(4 * (self._goals[colour] - self._position), -1, 1).astype(np.float32)

    def close(self) -> None:
        """End the episode."""
        self._task = None

    def _now(self) -> Task:
        if self._task is None:
            raise RuntimeError("no episode has begun: call reset(task, seed=...) first")
        return self._task

    def _distance(self, colour: str) -> float:
        return float(np.linalg.norm(self._goals[colour] - self._position))

    def _picture(self) -> Image:
        """A dark grey ground, the point in white, the goals over it."""
        canvas = np.full((tasks.PIXELS, tasks.PIXELS, 3), 32.0)
        _paint(canvas, self._position, 1, (255, 255, 255))
        for colour, goal in self._goals.items():
            _paint(canvas, goal, tasks.GOAL_PIXELS, tasks.COLOURS[colour])
        return canvas.round().astype(np.uint8)


def _pose(xy: npt.NDArray[np.float64]) -> Pose:
    return Pose(np.array([xy[0], xy[1], 0.0]))


def _paint(
    canvas: npt.NDArray[np.float64],
    xy: npt.NDArray[np.float64],
    side: int,
    colour: tuple[int, int, int],
) -> None:
    """Paint a square of `side` pixels centred at `xy` metres; border pixels by covered area."""
    edges = np.arange(tasks.PIXELS)
    column, row = (xy[0] + 1) / tasks.PIXEL, (1 - xy[1]) / tasks.PIXEL
    covered = [
        np.clip(np.minimum(edges + 1, c + side / 2) - np.maximum(edges, c - side / 2), 0, 1)
        for c in (row, column)
    ]
    alpha = np.outer(*covered)[..., None]
    canvas += alpha * (np.asarray(colour, dtype=np.float64) - canvas)
