"""One line per episode of what it took: who played it, how long each phase lasted, what failed."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlascope.records import EpisodeRecord

__all__ = ["LOG", "PHASES", "EpisodeLog", "LogLine", "error_kind", "read_log"]

LOG: Final = "log.jsonl"
PHASES: Final = ("physics", "render", "policy", "write")
"""What an episode's time is spent on; the rest of it, it waits for others."""


class LogLine(BaseModel):
    """What one try at an episode took.

    Attributes:
        at: when it was over, seconds since 1970.
        worker: host and process id of the policy's process.
        unit: the unit of work it was part of; empty where each episode is one.
        batch: the most rows that one of its inferences had.
        seconds: of wall time from its beginning to its end, waiting included.
        phases: seconds by phase (see `PHASES`); a batch's inference is shared out evenly.
        error: what kind of error it ended with, or None.
    """

    model_config = ConfigDict(frozen=True)

    at: float
    arm: str
    task: str
    seed: int
    digest: str
    worker: str
    unit: str = ""
    status: Literal["ok", "error"]
    success: bool | None
    steps: int
    batch: int
    seconds: float
    phases: dict[str, float] = Field(default_factory=dict)
    error: str | None = None

    @classmethod
    def of(cls, record: EpisodeRecord, phases: dict[str, float]) -> LogLine:
        """Of an episode that was just finished by this process."""
        return cls(
            at=round(time.time(), 3),
            arm=record.plan.arm,
            task=record.plan.task,
            seed=record.plan.seed,
            digest=record.digest,
            worker=f"{socket.gethostname()}:{os.getpid()}",
            status=record.status,
            success=record.success,
            steps=record.steps,
            batch=record.largest_batch,
            seconds=record.seconds,
            phases={name: round(seconds, 6) for name, seconds in phases.items()},
            error=None if record.error is None else error_kind(record.error),
        )


class EpisodeLog:
    """The log of one run directory, open for appending; a crash may cost its last line."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / LOG

    def append(self, line: LogLine) -> None:
        """Write one line; episodes are kept by the ledger, so this is not synced."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line.model_dump_json() + "\n")


def read_log(run_dir: Path) -> Iterator[LogLine]:
    """Every whole line of a run's log, oldest first; none where nothing was played."""
    path = run_dir / LOG
    if not path.exists():
        return
    for text in path.read_text("utf-8").splitlines():
        try:
            yield LogLine.model_validate_json(text)
        except ValidationError:
            continue


def error_kind(reason: str) -> str:
    """A short name for an error, the same for all errors of its kind.

    The exception's class, or how the environment's process ended.
    """
    first = reason.strip().splitlines()[0] if reason.strip() else "unknown"
    stopped = re.match(r"the environment stopped: (?:its process )?([^;]+)", first)
    if stopped:
        return stopped[1].strip()
    raised = re.match(r"([A-Za-z_][\w.]*): ", first)
    return raised[1] if raised else re.sub(r"\d+", "N", first)[:80]
