"""How far a study is, over all workers and shards, and what its time and its errors are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vlascope.rollout.log import PHASES, LogLine, read_log
from vlascope.study.design import design
from vlascope.study.run_directory import read_run

__all__ = ["Status", "Tally", "log_lines", "status", "tally"]

RECENT = 600.0
"""Seconds over which a rate is taken."""


@dataclass(frozen=True)
class Tally:
    """What a set of tries took.

    Attributes:
        tries: how many; `errors`: by kind, those that ended with one.
        shares: of the time that was spent on a phase, by phase; sums to 1 unless nothing was.
        workers: processes that held a policy.
    """

    tries: int
    errors: dict[str, int]
    shares: dict[str, float]
    workers: int

    def sentences(self) -> list[str]:
        """In words, for people."""
        parts = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
        said = [f"time at work: {parts}"] if self.tries and any(self.shares.values()) else []
        for kind, count in self.errors.items():
            said.append(f"{count} ended with an error: {kind}")
        return said


@dataclass(frozen=True)
class Status:
    """Where a study stands.

    Attributes:
        finished: episodes that need not be played again; `planned`: all, without those that
            stopped arms were spared.
        per_minute: episodes finished in the last `RECENT` seconds, over all workers.
        remaining_seconds: at that rate; None where nothing was finished of late.
        active: processes that finished one in that time.
    """

    finished: int
    planned: int
    per_minute: float
    remaining_seconds: float | None
    active: int
    tally: Tally


def log_lines(run_dir: Path) -> list[LogLine]:
    """Every line of a study's logs, over policies and shards, oldest first."""
    folders = {path.parent for path in run_dir.glob("**/log.jsonl")}
    lines = (line for folder in folders for line in read_log(folder))
    return sorted(lines, key=lambda line: line.at)


def tally(lines: Iterable[LogLine]) -> Tally:
    """Sum up what tries took, and how they failed."""
    lines = list(lines)
    errors = Counter(line.error for line in lines if line.error is not None)
    seconds = {name: sum(line.phases.get(name, 0.0) for line in lines) for name in PHASES}
    whole = sum(seconds.values()) or 1.0
    return Tally(
        tries=len(lines),
        errors=dict(errors.most_common()),
        shares={name: value / whole for name, value in seconds.items()},
        workers=len({line.worker for line in lines}),
    )


def status(run_dir: Path, *, now: float | None = None) -> Status:
    """Read a run directory, which others may be writing, and say how far it is.

    Raises:
        FileMissing: no study was run there.
    """
    manifest, episodes, outcomes = read_run(run_dir)
    groups = design(manifest.study).groups
    planned = sum(len(g.plans) for g in groups) * len(manifest.study.policies)
    spared = sum(
        o.stopped.planned - o.stopped.episodes
        for arms in outcomes.values()
        for o in arms.values()
        if o.stopped is not None
    )
    finished = sum(e.ok for e in episodes)
    lines = log_lines(run_dir)
    since = (time.time() if now is None else now) - RECENT
    recent = [line for line in lines if line.at >= since and line.status == "ok"]
    span = min(RECENT, since + RECENT - min((x.at - x.seconds for x in recent), default=0.0))
    rate = 60 * len(recent) / max(span, 1e-9) if recent else 0.0
    left = max(0, planned - spared - finished)
    return Status(
        finished=finished,
        planned=planned - spared,
        per_minute=rate,
        remaining_seconds=60 * left / rate if rate else None,
        active=len({line.worker for line in recent}),
        tally=tally(lines),
    )
