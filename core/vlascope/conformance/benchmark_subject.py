"""The benchmark under check: an environment, built once, and a sample of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from vlascope.benchmark import BenchmarkEnv, Task
from vlascope.types import FloatArray, Observation, Pose, StepResult

__all__ = ["BenchmarkSubject", "same_observation", "same_poses"]

_SAMPLE = 3


class BenchmarkSubject:
    """One benchmark class and an environment of it."""

    def __init__(self, cls: type[BenchmarkEnv], *, tasks: Sequence[str] | None = None) -> None:
        self.cls = cls
        self._names = tasks
        self._envs: list[BenchmarkEnv] = []

    @cached_property
    def env(self) -> BenchmarkEnv:
        """`cls()`, with its default options."""
        return self.new_env()

    def new_env(self) -> BenchmarkEnv:
        """Another environment, closed with the subject."""
        self._envs.append(self.cls())
        return self._envs[-1]

    @cached_property
    def sample(self) -> list[Task]:
        """The tasks to play: those named, or one of each of the first scenes."""
        if self._names is not None:
            return [self.cls.task(name) for name in self._names]
        scenes: dict[str, Task] = {}
        for suite in self.cls.suites().values():
            for task in suite[:1]:
                scenes.setdefault(task.scene or task.name, task)
        for task in self.cls.tasks():
            scenes.setdefault(task.scene or task.name, task)
        return list(scenes.values())[:_SAMPLE]

    def actions(self, count: int, seed: int = 0) -> list[FloatArray]:
        """Random actions within the declared range."""
        spec, rng = self.env.info.action, np.random.default_rng(seed)
        return [rng.uniform(spec.low, spec.high).astype(np.float32) for _ in range(count)]

    def play(
        self, env: BenchmarkEnv, task: str, *, seed: int = 0, steps: int = 5
    ) -> list[StepResult]:
        """Reset and take random actions."""
        env.reset(task, seed=seed)
        return [env.step(action) for action in self.actions(steps)]

    def close(self) -> None:
        """Close every environment that was opened; `close_twice` tells of those that refuse."""
        for env in self._envs:
            with suppress(Exception):
                env.close()


def same_observation(one: Observation, other: Observation) -> bool:
    """Bit for bit."""
    if one.instruction != other.instruction:
        return False
    return _same(one.images, other.images) and _same(one.state, other.state)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[n], other[n]) for n in one)


def same_poses(one: dict[str, Pose], other: dict[str, Pose]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(
        np.array_equal(one[n].position, other[n].position)
        and np.array_equal(one[n].quaternion, other[n].quaternion)
        for n in one
    )
