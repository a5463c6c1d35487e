"""What happens to a finished episode: its files first, its line last."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vlascope.intervening import Editing
from vlascope.records import EpisodeRecord, PolicyIdentity
from vlascope.rollout.arrays import write_arrays
from vlascope.rollout.film import Strip
from vlascope.rollout.flight import Flight
from vlascope.rollout.guard import EditGuard
from vlascope.rollout.ledger import Ledger
from vlascope.rollout.log import EpisodeLog, LogLine
from vlascope.rollout.messages import Trace
from vlascope.rollout.progress import Reporter
from vlascope.rollout.prompts import verify_carried
from vlascope.rollout.recorder import Recorder
from vlascope.store.durable import write_atomically

__all__ = ["EpisodeSink", "Header"]


@dataclass(frozen=True)
class Header:
    """What all records of one run share."""

    policy: PolicyIdentity
    benchmark: str
    batch_mode: Literal["exact", "batched"]
    versions: Mapping[str, str]


class EpisodeSink:
    """Turns outcomes into records; holds them back until the guard has seen the edits act."""

    def __init__(
        self,
        run_dir: Path,
        ledger: Ledger,
        header: Header,
        guard: EditGuard,
        editing: Editing,
        recorder: Recorder | None,
        reporter: Reporter,
    ) -> None:
        self._run_dir, self._ledger, self._header = run_dir, ledger, header
        self._guard, self._editing, self._recorder = guard, editing, recorder
        self._reporter = reporter
        self._log = EpisodeLog(run_dir)
        self._held: list[tuple[EpisodeRecord, Trace, float]] = []

    def inferred(self, flights: list[Flight]) -> None:
        """Take what was recorded of this batch."""
        if self._recorder is not None:
            self._recorder.gather()

    def finished(self, flight: Flight, trace: Trace) -> None:
        """Commit the episode, or hold it until the interventions are known to act."""
        record = self._record(flight, trace)
        verify_carried(record)
        logs = self._editing.logs_of(record.plan.episode)
        trace = replace(trace, arrays={**trace.arrays, **logs})
        self._editing.forget(record.plan.episode)
        self._held.append((record, trace, flight.policy_seconds))
        self._guard.count(record)
        if self._guard.settled:
            self.flush()

    def failed(self, flight: Flight, reason: str) -> None:
        """Write down that the environment failed, which says nothing of the policy."""
        self.dropped(flight)
        record = self._record(flight, None, reason)
        self._ledger.append(record)
        self._log.append(LogLine.of(record, {"policy": flight.policy_seconds}))
        self._reporter.advance(success=None)

    def dropped(self, flight: Flight) -> None:
        """Forget a try that is not counted."""
        episode = flight.planned.plan.episode
        self._editing.forget(episode)
        if self._recorder is not None:
            self._recorder.drop(episode)

    def flush(self) -> None:
        """Commit every episode held: activations, arrays and pictures, then the line."""
        while self._held:
            record, trace, policy_seconds = self._held[0]
            started = time.perf_counter()
            if self._recorder is not None:
                self._recorder.commit(record)
            assert record.arrays is not None
            write_arrays(self._run_dir / record.arrays, trace.arrays)
            self._write_pictures(record, trace.strip, trace.video)
            self._ledger.append(record)
            self._held.pop(0)
            written = {"policy": policy_seconds, "write": time.perf_counter() - started}
            self._log.append(LogLine.of(record, {**trace.phases, **written}))
            self._reporter.advance(success=record.success)

    def _write_pictures(
        self, record: EpisodeRecord, strip: Strip | None, video: bytes | None
    ) -> None:
        if strip is not None and record.frames is not None:
            write_arrays(
                self._run_dir / record.frames, {"images": strip.images, "steps": strip.steps}
            )
        if video is not None and record.video is not None:
            write_atomically(self._run_dir / record.video, video)

    def _record(
        self, flight: Flight, trace: Trace | None, reason: str | None = None
    ) -> EpisodeRecord:
        planned = flight.planned
        shared: dict[str, Any] = {
            "digest": planned.digest,
            "content": planned.content,
            "plan": planned.plan,
            "policy": self._header.policy,
            "benchmark": self._header.benchmark,
            "instruction": planned.instruction,
            "scene": planned.task.scene,
            "batch_mode": self._header.batch_mode,
            "largest_batch": flight.largest_batch,
            "prompt": flight.prompt,
            "seconds": round(flight.seconds, 4),
            "versions": dict(self._header.versions),
        }
        if trace is None:
            return EpisodeRecord(
                status="error", error=reason, success=None, steps=flight.step, **shared
            )
        receipts = self._editing.receipts_of(planned.plan.episode)
        outcome = _outcome(trace, planned.digest)
        return EpisodeRecord(
            status="ok",
            error=flight.error,
            receipts=receipts,
            perturbed=flight.perturbed(trace.perturbations),
            **outcome,
            **shared,
        )


def _outcome(trace: Trace, name: str) -> dict[str, Any]:
    return {
        "success": trace.success_step is not None,
        "steps": trace.steps,
        "success_step": trace.success_step,
        "predicates": dict(trace.predicates),
        "initial_predicates": trace.initial_predicates,
        "arrays": f"episodes/{name}.safetensors",
        "frames": f"frames/{name}.safetensors" if trace.strip is not None else None,
        "video": f"videos/{name}.mp4" if trace.video is not None else None,
    }
