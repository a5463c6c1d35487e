"""Finished episodes of a study, addressed by policy, arm, task and seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vlascope.records import EpisodeRecord
from vlascope.rollout.arrays import EpisodeArrays, read_strip
from vlascope.rollout.film import Strip
from vlascope.study.groups import Cell

__all__ = ["Episodes", "Played"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Played:
    """One finished episode; its arrays are read when first asked for.

    Attributes:
        record: what happened.
        run_dir: where its arrays are.
    """

    record: EpisodeRecord
    run_dir: Path

    @property
    def ok(self) -> bool:
        """Whether the environment did its part, so that the episode says something."""
        return self.record.status == "ok"

    @property
    def cell(self) -> Cell:
        """Its task and seed."""
        return self.record.plan.task, self.record.plan.seed

    @cached_property
    def actions(self) -> Floats | None:
        """Executed actions, (steps, dim); None where there are none."""
        return self._array("action")

    @cached_property
    def hand(self) -> Floats | None:
        """End-effector positions in metres, (steps + 1, 3); None where the scene has none."""
        return self._array("end_effector")

    @cached_property
    def objects(self) -> dict[str, Floats]:
        """Positions of the scene's objects by name in metres, (steps + 1, 3)."""
        names = [name for name in self._arrays if name.startswith("object.")]
        tracks = {n.removeprefix("object."): self._array(n) for n in names}
        return {name: track for name, track in tracks.items() if track is not None}

    @cached_property
    def strip(self) -> Strip | None:
        """The film strip; None where it was not filmed."""
        return read_strip(self.run_dir, self.record)

    def fulfilled(self) -> dict[str, int]:
        """First step of every condition that came true, without those true from the start."""
        initial = self.record.initial_predicates
        return {
            name: step
            for name, step in self.record.predicates.items()
            if step > 1 and name not in initial
        }

    def _array(self, name: str) -> Floats | None:
        found = self._arrays.get(name)
        return None if found is None or len(found) == 0 else found.astype(np.float64)

    @cached_property
    def _arrays(self) -> Mapping[str, npt.NDArray[np.float64]]:
        return EpisodeArrays.load(self.run_dir, self.record)


class Episodes:
    """Finished episodes by (policy, arm, cell); the environment's failures are among them."""

    def __init__(self, played: Iterable[tuple[str, Played]]) -> None:
        self._by_key: dict[tuple[str, str, Cell], Played] = {}
        for policy, episode in played:
            key = (policy, episode.record.plan.arm, episode.cell)
            before = self._by_key.get(key)
            if before is None or not before.ok:
                self._by_key[key] = episode

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Played]:
        return iter(self._by_key.values())

    def get(self, policy: str, arm: str, cell: Cell) -> Played | None:
        """That episode, error or not; None where it was not played."""
        return self._by_key.get((policy, arm, cell))

    def ok(self, policy: str, arm: str, cell: Cell) -> Played | None:
        """That episode, if it was played and its environment did not fail."""
        found = self.get(policy, arm, cell)
        return found if found is not None and found.ok else None

    def of(self, policy: str, arm: str) -> list[Played]:
        """Every episode of an arm, in the order of tasks and seeds."""
        found = [e for (p, a, _), e in self._by_key.items() if (p, a) == (policy, arm)]
        return sorted(found, key=lambda e: e.cell)

    @cached_property
    def watched(self) -> frozenset[tuple[str, str]]:
        """(scene, condition) pairs seen to hold somewhere, so that "never held" means no."""
        return frozenset(
            (e.record.scene, name)
            for e in self._by_key.values()
            for name in (*e.record.predicates, *e.record.initial_predicates)
        )
