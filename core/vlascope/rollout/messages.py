"""What passes between the loop and a worker process; free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vlascope.benchmark import BenchmarkInfo
from vlascope.perturbations import Perturbation, PerturbationReceipt, Sent
from vlascope.rollout.film import Film, Strip
from vlascope.types import FloatArray, Observation

__all__ = [
    "Begin",
    "Execute",
    "Failed",
    "Finished",
    "Observed",
    "Ready",
    "Reply",
    "Request",
    "Setup",
    "Trace",
]


@dataclass(frozen=True)
class Setup:
    """What a worker builds its environments from; its first message."""

    benchmark: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Begin:
    """Start an episode in one of the worker's environments and look at it.

    Attributes:
        perturbations: what is done to the pictures, in order.
        read: cameras the policy reads, which receipts count; None for all.
    """

    slot: int
    task: str
    seed: int
    max_steps: int | None
    stop_on_success: bool
    film: Film | None
    perturbations: tuple[Perturbation, ...] = ()
    read: frozenset[str] | None = None


@dataclass(frozen=True, eq=False)
class Execute:
    """Apply actions, float32 (n, action_dim), without rendering, then look; `last` ends it."""

    slot: int
    actions: FloatArray
    last: bool = False


Request = Begin | Execute


@dataclass(frozen=True)
class Ready:
    """The worker's first answer: its benchmark is built."""

    info: BenchmarkInfo


@dataclass(frozen=True, eq=False)
class Observed:
    """The episode goes on; the policy is asked.

    Attributes:
        sent: hashes of the pictures, where they were perturbed.
    """

    slot: int
    step: int
    observation: Observation
    sent: Sent | None = None


@dataclass(frozen=True, eq=False)
class Trace:
    """One finished episode as the environment saw it.

    Attributes:
        arrays: `action` (steps, dim), `end_effector` and `object.<name>` (steps + 1, 3), metres,
            `state.<stream>` (steps + 1, n) and `predicate.<name>` uint8 (steps + 1,).
        success_step: the first successful step, 1-based, or None.
        predicates: first step (1-based) at which each named condition held.
        initial_predicates: conditions that held before the first step.
        perturbations: what each perturbation did.
        phases: seconds of physics and of rendering.
    """

    steps: int
    arrays: Mapping[str, npt.NDArray[np.float32] | npt.NDArray[np.uint8]]
    success_step: int | None
    predicates: Mapping[str, int]
    initial_predicates: tuple[str, ...]
    perturbations: tuple[PerturbationReceipt, ...] = ()
    strip: Strip | None = None
    video: bytes | None = field(default=None, repr=False)
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Finished:
    """The episode is over."""

    slot: int
    trace: Trace


@dataclass(frozen=True)
class Failed:
    """The environment failed; `slot` is None where the benchmark could not be built at all."""

    slot: int | None
    reason: str


Reply = Ready | Observed | Finished | Failed
