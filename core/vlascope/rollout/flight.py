"""One episode under way, as the loop sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from vlascope.benchmark import Task
from vlascope.hooks import Moment
from vlascope.records import EpisodePlan
from vlascope.types import Observation

__all__ = ["Flight", "Planned"]


@dataclass(frozen=True)
class Planned:
    """A plan, the task it names, and its digest in this run's context."""

    plan: EpisodePlan
    task: Task
    digest: str

    @property
    def instruction(self) -> str:
        """What the policy is told."""
        return self.task.instruction if self.plan.instruction is None else self.plan.instruction


@dataclass
class Flight:
    """Where an episode is: the chunk that is next and what the policy sees.

    Attributes:
        planned: the episode.
        slot: the environment that plays it.
        step: environment steps played.
        chunk: chunks inferred so far.
        largest_batch: the most rows any of its inferences had.
        error: why the policy's episode is cut short, or None.
    """

    planned: Planned
    slot: int
    step: int = 0
    chunk: int = 0
    largest_batch: int = 1
    error: str | None = None
    started: float = field(default_factory=time.monotonic)
    observation: Observation | None = None

    @property
    def moment(self) -> Moment:
        """When the next inference happens."""
        return Moment(self.planned.plan.episode, self.step, self.chunk)

    def see(self, step: int, observation: Observation) -> None:
        """The environment reached a chunk boundary."""
        self.step = step
        self.observation = replace(observation, instruction=self.planned.instruction)

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return time.monotonic() - self.started
