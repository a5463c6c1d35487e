"""What the robot feels and what holds, step by step, as an episode is played."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from vlascope.types import FloatArray

__all__ = ["CONFIGURATION", "NOT_TOLD", "Timelines"]

CONFIGURATION: Final = "configuration"
"""An episode's array of what was drawn at each step, (steps + 1, n), for `BenchmarkEnv.show`."""

NOT_TOLD: Final = 255
"""In a `predicate.<name>` timeline: the benchmark did not say at that step."""


class Timelines:
    """State streams and predicates of one episode; row 0 is before the first step."""

    def __init__(self) -> None:
        self._states: dict[int, Mapping[str, FloatArray]] = {}
        self._held: dict[int, Mapping[str, bool]] = {}

    def feel(self, step: int, state: Mapping[str, FloatArray] | None) -> None:
        """The state streams after `step` steps; None or what is known already changes nothing."""
        if state is not None and step not in self._states:
            self._states[step] = {k: np.array(v, np.float32) for k, v in state.items()}

    def hold(self, step: int, predicates: Mapping[str, bool]) -> None:
        """The named conditions after `step` steps."""
        self._held[step] = dict(predicates)

    def arrays(self, steps: int) -> dict[str, npt.NDArray[np.float32] | npt.NDArray[np.uint8]]:
        """`state.<stream>` float32 (steps + 1, n) and `predicate.<name>` uint8 (steps + 1,).

        Between steps at which the state was read, the last reading is held. A predicate is 1, 0,
        or `NOT_TOLD`.
        """
        return {**self._state_arrays(steps), **self._predicate_arrays(steps)}

    def _state_arrays(self, steps: int) -> dict[str, npt.NDArray[np.float32]]:
        if 0 not in self._states:
            return {}
        rows: dict[str, list[FloatArray]] = {name: [] for name in self._states[0]}
        latest = self._states[0]
        for step in range(steps + 1):
            latest = self._states.get(step, latest)
            for name, track in rows.items():
                track.append(latest[name])
        return {f"state.{name}": np.stack(track) for name, track in rows.items()}

    def _predicate_arrays(self, steps: int) -> dict[str, npt.NDArray[np.uint8]]:
        names = dict.fromkeys(name for held in self._held.values() for name in held)
        found: dict[str, npt.NDArray[np.uint8]] = {
            f"predicate.{name}": np.full(steps + 1, NOT_TOLD, np.uint8) for name in names
        }
        for step, held in self._held.items():
            for name, holds in held.items():
                found[f"predicate.{name}"][step] = holds
        return found
