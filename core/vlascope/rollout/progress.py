"""How far a run is: a bar on a terminal, JSON lines otherwise."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Reporter", "reporter"]

_EVERY = 5.0
"""Seconds between JSON lines."""


class Reporter(Protocol):
    """Told of every finished episode."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None: ...

    def advance(self, *, success: bool | None) -> None:
        """One more episode is over; `success` is None where the environment failed."""


def reporter(title: str, *, total: int, skipped: int, show: bool) -> Reporter:
    """The reporter that suits where standard error goes."""
    if not show:
        return _Quiet()
    if sys.stderr.isatty():
        return _Bar(title, total, skipped)
    return _Lines(title, total, skipped)


class _Quiet:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        return None

    def advance(self, *, success: bool | None) -> None:
        """Say nothing."""


class _Counting(_Quiet):
    """Counts, and the rate since the start."""

    def __init__(self, title: str, total: int, skipped: int) -> None:
        self.title, self.total, self.skipped = title, total, skipped
        self.done = self.successes = self.errors = 0
        self.started = time.monotonic()

    def advance(self, *, success: bool | None) -> None:
        """Count."""
        self.done += 1
        self.successes += bool(success)
        self.errors += success is None

    def per_minute(self) -> float:
        """Episodes per minute of this run."""
        return 60.0 * self.done / max(time.monotonic() - self.started, 1e-9)


class _Bar(_Counting):
    def __init__(self, title: str, total: int, skipped: int) -> None:
        super().__init__(title, total, skipped)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(title, total=total, completed=skipped, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, *, success: bool | None) -> None:
        """Move the bar."""
        super().advance(success=success)
        note = f"{self.per_minute():.1f}/min, {self.successes} succeeded"
        if self.errors:
            note += f", {self.errors} environment errors"
        self._progress.update(self._task, advance=1, note=note)


class _Lines(_Counting):
    def __init__(self, title: str, total: int, skipped: int) -> None:
        super().__init__(title, total, skipped)
        self._last = -_EVERY

    def advance(self, *, success: bool | None) -> None:
        """Print at most one line every few seconds, and the last."""
        super().advance(success=success)
        finished = self.skipped + self.done
        now = time.monotonic()
        if now - self._last < _EVERY and finished < self.total:
            return
        self._last = now
        rate = self.per_minute()
        line = {
            "run": self.title,
            "finished": finished,
            "total": self.total,
            "succeeded": self.successes,
            "errors": self.errors,
            "episodes_per_minute": round(rate, 2),
            "remaining_seconds": round(60.0 * (self.total - finished) / rate, 1),
        }
        print(json.dumps(line), file=sys.stderr, flush=True)
