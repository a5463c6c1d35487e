"""What passes between a policy and a benchmark: small, frozen, NumPy-native."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ActionChunk", "FloatArray", "Image", "Observation", "Pose", "StepResult"]

Image = npt.NDArray[np.uint8]
"""A picture: uint8, (height, width, 3), row 0 at the top as a person would see the scene."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Observation:
    """What the robot is told and sees at one environment step.

    Attributes:
        instruction: the text the policy is conditioned on; may be empty.
        images: uint8 (height, width, 3) by camera name.
        state: float32 (n,) by proprioceptive stream name, in the units of the `StateSpec`.
    """

    instruction: str
    images: Mapping[str, Image] = field(default_factory=dict)
    state: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """The next actions one inference predicts for each row of a batch.

    Attributes:
        actions: float32 (batch, horizon, action_dim), in the environment's units (already
            un-normalised and decoded as the adapter's `ActionSpec` says).
    """

    actions: FloatArray

    def __post_init__(self) -> None:
        if self.actions.ndim != 3 or 0 in self.actions.shape:
            raise ValueError(
                f"a chunk is (batch, horizon, action_dim), all at least 1; got {self.actions.shape}"
            )

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, eq=False)
class Pose:
    """Where a thing is: position in metres (3,), orientation as a w-x-y-z unit quaternion (4,)."""

    position: npt.NDArray[np.float64]
    quaternion: npt.NDArray[np.float64] = field(
        default_factory=lambda: np.array([1.0, 0.0, 0.0, 0.0])
    )


@dataclass(frozen=True, eq=False)
class StepResult:
    """What one action led to; the picture is fetched apart, by `BenchmarkEnv.observe`.

    Attributes:
        success: the benchmark's own verdict on the task at this step.
        terminated: the episode is over by the benchmark's rules.
        truncated: the episode ran out of steps.
        predicates: named conditions of the scene at this step (`"drawer_open": True`); the
            conditions of *other* tasks are here too where the scene offers several.
        info: anything else, JSON-like.
    """

    success: bool = False
    terminated: bool = False
    truncated: bool = False
    predicates: Mapping[str, bool] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
