"""Putting units that others played into a run directory: files first, the ledger's line last."""

from __future__ import annotations

import time
from pathlib import Path

from vlascope.errors import EditMisfired
from vlascope.records import EpisodeRecord
from vlascope.rollout.guard import EditGuard
from vlascope.rollout.ledger import Ledger
from vlascope.rollout.log import EpisodeLog
from vlascope.rollout.progress import Reporter
from vlascope.store import ActivationStore
from vlascope.store.durable import write_atomically
from vlascope.units.unit import PlayedUnit

__all__ = ["UnitSink"]


class UnitSink:
    """Commits units; holds them back until the guard has seen the edits act.

    Args:
        run_dir: where they go.
        ledger, guard: of this call.
        store: where activations go, or None.
        reporter: told of every episode.
    """

    def __init__(
        self,
        run_dir: Path,
        ledger: Ledger,
        guard: EditGuard,
        store: ActivationStore | None,
        reporter: Reporter,
    ) -> None:
        self._run_dir, self._ledger, self._guard = run_dir, ledger, guard
        self._store, self._reporter = store, reporter
        self._log = EpisodeLog(run_dir)
        self._held: list[PlayedUnit] = []

    def take(self, played: PlayedUnit) -> None:
        """Commit a unit, or hold it until the interventions are known to act.

        Raises:
            EditMisfired: an edit was due and never happened.
            VlascopeError: what ended the unit early; what it finished before is committed.
        """
        if isinstance(played.failure, EditMisfired):
            raise played.failure
        for record in played.records:
            self._guard.count(record)
        self._held.append(played)
        if self._guard.settled:
            self.flush()
        if played.failure is not None:
            self.flush()
            raise played.failure

    def flush(self) -> None:
        """Commit every unit held."""
        while self._held:
            self._commit(self._held[0])
            self._held.pop(0)

    def _commit(self, played: PlayedUnit) -> None:
        started = time.perf_counter()
        for record in played.records:
            self._write(played, record)
        share = (time.perf_counter() - started) / max(len(played.log), 1)
        for line in played.log:
            phases = {**line.phases, "write": line.phases.get("write", 0.0) + share}
            self._log.append(line.model_copy(update={"phases": phases}))

    def _write(self, played: PlayedUnit, record: EpisodeRecord) -> None:
        episode = record.plan.episode
        if self._store is not None and episode in played.activations:
            self._store.adopt(episode, played.activations[episode])
        for path in (record.arrays, record.frames, record.video):
            if path is not None:
                write_atomically(self._run_dir / path, played.files[path])
        self._ledger.append(record)
        self._reporter.advance(success=record.success)
