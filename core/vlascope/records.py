"""The one schema of a finished episode, and the plan it came from."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from vlascope.intervening import Receipt
from vlascope.perturbations.receipts import Perturbed

__all__ = [
    "SCHEMA",
    "EpisodePlan",
    "EpisodeRecord",
    "PolicyIdentity",
    "PromptReceipt",
    "PromptSwitch",
]

SCHEMA: Final = "vlascope.episode/1"


class PolicyIdentity(BaseModel):
    """Which weights acted: the adapter's name, where they came from, and their sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: str
    checkpoint: str
    checkpoint_hash: str


class PromptSwitch(BaseModel):
    """Another instruction, from the first chunk that begins at environment step `step` or later."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int = Field(ge=1)
    instruction: str


class EpisodePlan(BaseModel):
    """One episode to be run; episodes of different arms are paired by (task, seed).

    Attributes:
        arm: the condition's name.
        task: by name.
        seed: decides the initial state and the policy's noise.
        instruction: what the policy is told; None for the task's own.
        max_steps: environment steps at most; None for the benchmark's own limit.
        stop_on_success: end at the first success (False records the full length, so that its
            activations can be injected at any later moment).
        perturbation: what is done to the pictures, `{kind: ..., ...}` each, in order; or the name
            of what the run does to them, for the record.
        switch: what the policy is told instead from some step on; None for the same throughout.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    task: str
    seed: int
    instruction: str | None = None
    max_steps: int | None = None
    stop_on_success: bool = True
    perturbation: str | tuple[dict[str, Any], ...] | None = None
    switch: PromptSwitch | None = None

    @property
    def episode(self) -> str:
        """The episode's name in moments and stores: `arm/task/seed`."""
        return f"{self.arm}/{self.task}/{self.seed}"

    def digest(self, **context: Any) -> str:
        """A content hash of the plan in its context (policy, interventions, versions): 16 hex."""
        own = self.model_dump_json(exclude={"switch"} if self.switch is None else None)
        parts = [own, *(f"{k}={context[k]}" for k in sorted(context))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class PromptReceipt(BaseModel):
    """What became of an instruction that is not the task's own.

    Attributes:
        inferences: how often the policy was asked in this episode.
        carried: of these, with an observation that held the instruction planned for that step.
        reached: ||dx|| / ||x|| between the earliest activations that carry the instruction under
            the task's own text and under the changed one, all else equal; the largest over `at`.
            None where the policy declares no instruction stream.
        at: the hook points compared.
        switched_at: with a `switch`, the environment step at which the policy was first told the
            other instruction; None where the episode was over before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inferences: int
    carried: int
    switched_at: int | None = None
    reached: float | None
    at: tuple[str, ...] = ()


class EpisodeRecord(BaseModel):
    """What happened in one episode; one JSON line, its arrays in a file beside it.

    Attributes:
        digest: the plan's content hash; a finished digest is never run again.
        content: the same whatever the arm is called; equal episodes are played once.
        shared: the episode of another arm that this one equals and was taken from, or None.
        status: `ok`, or `error` where the *environment* failed, which says nothing of the policy.
        success: the benchmark's verdict, None where status is `error`.
        steps: environment steps taken; `success_step`: the first successful one (1-based).
        predicates: first step (1-based) at which each named condition of the scene held; those
            that never held are absent.
        initial_predicates: names of conditions that held before the first step.
        error: why the environment failed; with status `ok`, why the policy's episode was cut
            short (an action that was not finite).
        receipts: what each intervention did to this episode.
        perturbed: what was done to its pictures, and whether the policy was given the result;
            None where nothing was.
        prompt: whether a changed instruction reached the policy; None for the task's own.
        batch_mode: `exact` (batch 1, replays bit for bit) or `batched` (equal up to floating
            point), with the largest batch this episode was part of.
        arrays: path, relative to the run, of a safetensors file holding `action` (steps, dim),
            `end_effector` (steps + 1, 3) and one `object.<name>` (steps + 1, 3) per object, in
            metres, `state.<stream>` (steps + 1, n), `predicate.<name>` (steps + 1,) and, where the
            benchmark tells it, `configuration` (steps + 1, n), from which pictures can be drawn.
        video: path, relative to the run, or None.
        frames: path, relative to the run, of a safetensors file holding the film strip: `images`
            uint8 (frames, height, width, 3) and `steps` (frames,); None where not filmed.
        versions: package versions that could change the outcome.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.episode/1"] = SCHEMA
    digest: str
    content: str = ""
    shared: str | None = None
    plan: EpisodePlan
    policy: PolicyIdentity
    benchmark: str
    instruction: str
    scene: str = ""
    status: Literal["ok", "error"]
    error: str | None = None
    success: bool | None
    steps: int
    success_step: int | None = None
    predicates: dict[str, int] = Field(default_factory=dict)
    initial_predicates: tuple[str, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    perturbed: Perturbed | None = None
    prompt: PromptReceipt | None = None
    batch_mode: Literal["exact", "batched"]
    largest_batch: int = 1
    arrays: str | None = None
    video: str | None = None
    frames: str | None = None
    seconds: float
    versions: dict[str, str]
