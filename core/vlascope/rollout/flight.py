"""One episode under way, as the loop sees it."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from vlascope.benchmark import Task
from vlascope.hooks import Moment
from vlascope.perturbations import PerturbationReceipt, Perturbed, Sent, digest_of
from vlascope.records import EpisodePlan, PromptReceipt
from vlascope.rollout.prompts import Reach
from vlascope.types import Observation

__all__ = ["Flight", "Planned"]


@dataclass(frozen=True)
class Planned:
    """A plan, the task it names, and its digests in this run's context.

    Attributes:
        digest: of this episode; `content`: equal for what another arm would play alike.
        reach: what a changed instruction does to the policy, once that has been looked at.
    """

    plan: EpisodePlan
    task: Task
    digest: str
    content: str = ""
    reach: Reach | None = None

    @property
    def instruction(self) -> str:
        """What the policy is told."""
        return self.task.instruction if self.plan.instruction is None else self.plan.instruction

    def told(self, step: int) -> str:
        """What the policy is told by a chunk that begins at environment step `step`."""
        switch = self.plan.switch
        return self.instruction if switch is None or step < switch.step else switch.instruction

    @property
    def texts(self) -> tuple[str, str]:
        """The task's own instruction and the changed one; before and after a switch."""
        if self.plan.switch is not None:
            return self.instruction, self.plan.switch.instruction
        return self.task.instruction, self.instruction


@dataclass
class Flight:
    """Where an episode is: the chunk that is next and what the policy sees.

    Attributes:
        planned: the episode.
        slot: the environment that plays it.
        step: environment steps played.
        chunk: chunks inferred so far.
        carried: of these, from an observation that held the planned instruction.
        switched_at: step of the first inference after the prompt's switch.
        largest_batch: the most rows any of its inferences had.
        error: why the policy's episode is cut short, or None.
        sent: hashes of the present pictures, where they were perturbed.
        looks, altered, delivered: see `Perturbed`.
        policy_seconds: its share of the inferences it was part of.
    """

    planned: Planned
    slot: int
    step: int = 0
    chunk: int = 0
    carried: int = 0
    switched_at: int | None = None
    largest_batch: int = 1
    error: str | None = None
    started: float = field(default_factory=time.monotonic)
    observation: Observation | None = None
    sent: Sent | None = None
    looks: int = 0
    altered: int = 0
    delivered: int = 0
    policy_seconds: float = 0.0

    @property
    def moment(self) -> Moment:
        """When the next inference happens."""
        return Moment(self.planned.plan.episode, self.step, self.chunk)

    @property
    def prompt(self) -> PromptReceipt | None:
        """What became of a changed instruction so far; None for the task's own."""
        before, after = self.planned.texts
        if before == after:
            return None
        reach = self.planned.reach or Reach(None)
        return PromptReceipt(
            inferences=self.chunk,
            carried=self.carried,
            reached=reach.change,
            at=reach.at,
            switched_at=self.switched_at,
        )

    def see(self, step: int, observation: Observation, sent: Sent | None = None) -> None:
        """The environment reached a chunk boundary."""
        self.step, self.sent = step, sent
        self.observation = replace(observation, instruction=self.planned.told(step))

    def hand_over(self, read: Collection[str]) -> None:
        """Compare the pictures that the policy is about to be given with what was sent."""
        if self.observation is None or self.sent is None:
            return
        given = digest_of({c: p for c, p in self.observation.images.items() if c in read})
        self.looks += 1
        self.altered += given != self.sent.taken
        self.delivered += given == self.sent.sent

    def perturbed(self, receipts: tuple[PerturbationReceipt, ...]) -> Perturbed | None:
        """What became of the perturbations; None where there were none."""
        if not receipts:
            return None
        return Perturbed(
            looks=self.looks,
            altered=self.altered,
            delivered=self.delivered,
            perturbations=receipts,
        )

    def count_inference(self) -> None:
        """The present observation went through the policy."""
        told = self.observation is not None and self.observation.instruction
        self.carried += told == self.planned.told(self.step)
        switch = self.planned.plan.switch
        if switch is not None and self.step >= switch.step and self.switched_at is None:
            self.switched_at = self.step
        self.chunk += 1
        self.observation = None

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return time.monotonic() - self.started
