"""What an episode left behind, step by step, under one set of names.

Rows count states: row 0 is before the first step, row `steps` after the last. An activation of
moment `step` was computed from the state in row `step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vlascope.errors import FileMissing
from vlascope.records import EpisodeRecord
from vlascope.rollout.arrays import EpisodeArrays
from vlascope.rollout.ledger import EPISODES, read_episodes
from vlascope.rollout.timelines import NOT_TOLD

__all__ = ["Evidence", "read_evidence"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One finished episode and its arrays.

    Attributes:
        record: what happened.
        arrays: `action` (steps, dim), everything else (steps + 1, ...).
    """

    record: EpisodeRecord
    arrays: Mapping[str, npt.NDArray[np.generic]]

    @property
    def episode(self) -> str:
        """Its name in stores: `arm/task/seed`."""
        return self.record.plan.episode

    @property
    def steps(self) -> int:
        """Environment steps played."""
        return self.record.steps

    @cached_property
    def actions(self) -> Floats:
        """Executed actions, (steps, dim); row i leads from state i to state i + 1."""
        return np.asarray(self.arrays["action"], np.float64)

    @cached_property
    def hand(self) -> Floats | None:
        """End-effector positions in metres, (steps + 1, 3); None where the scene has none."""
        found = self.arrays.get("end_effector")
        return None if found is None else np.asarray(found, np.float64)

    @cached_property
    def velocity(self) -> Floats | None:
        """End-effector displacement over the step to come, metres per step, (steps + 1, 3).

        Row i is hand[i + 1] - hand[i]; the last row, with no step to come, is NaN.
        """
        if self.hand is None:
            return None
        still = np.full((1, 3), np.nan)
        return np.concatenate([np.diff(self.hand, axis=0), still])

    @cached_property
    def objects(self) -> dict[str, Floats]:
        """Object positions by name, metres, (steps + 1, 3); NaN while a thing is not there."""
        return self._under("object.")

    @cached_property
    def state(self) -> dict[str, Floats]:
        """State streams by name, (steps + 1, n); empty for runs of earlier versions."""
        return self._under("state.")

    @cached_property
    def predicates(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Whether each condition held, (steps + 1,); where that was not told counts as no."""
        prefix = "predicate."
        return {
            name.removeprefix(prefix): (found != 0) & (found != NOT_TOLD)
            for name, found in self.arrays.items()
            if name.startswith(prefix)
        }

    @property
    def decided_step(self) -> int | None:
        """The first state in which the outcome is settled: that of the first success.

        None for a failure, which is not settled before the episode ends.
        """
        return self.record.success_step

    def _under(self, prefix: str) -> dict[str, Floats]:
        return {
            name.removeprefix(prefix): np.asarray(found, np.float64)
            for name, found in self.arrays.items()
            if name.startswith(prefix)
        }


def read_evidence(run_dir: str | Path) -> dict[str, Evidence]:
    """The finished episodes of a policy's run by name; those whose environment failed are left out.

    Raises:
        FileMissing: there is no run.
        CorruptFile: an episode's arrays are gone or damaged.
    """
    folder = Path(run_dir)
    if not (folder / EPISODES).exists():
        raise FileMissing(
            f"{folder} holds no {EPISODES}; give the folder of one policy's run, in which "
            "`vlascope study run` put it (RUN/POLICY)"
        )
    return {
        record.plan.episode: Evidence(record, EpisodeArrays.load(folder, record))
        for record in read_episodes(folder)
        if record.status == "ok"
    }
