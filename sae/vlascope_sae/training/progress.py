"""How far a training is: a bar on a terminal, JSON lines otherwise."""

from __future__ import annotations

import json
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Meter", "meter"]

_EVERY = 5.0
"""Seconds between JSON lines."""


class Meter:
    """Told of every step; says nothing."""

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def advance(self, samples: int, note: str = "") -> None:
        """So many samples are done in all; `note` is shown beside them until there is another."""


def meter(title: str, *, total: int, done: int, show: bool) -> Meter:
    """The meter that suits where standard error goes."""
    if not show:
        return Meter()
    return _Bar(title, total, done) if sys.stderr.isatty() else _Lines(title, total, done)


class _Bar(Meter):
    def __init__(self, title: str, total: int, done: int) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,}/{task.total:,} samples"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(title, total=total, completed=done, note="")

    def __enter__(self) -> Meter:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, samples: int, note: str = "") -> None:
        if note:
            self._bar.update(self._task, completed=samples, note=note)
        else:
            self._bar.update(self._task, completed=samples)


class _Lines(Meter):
    def __init__(self, title: str, total: int, done: int) -> None:
        self._title, self._total, self._first = title, total, done
        self._started = time.monotonic()
        self._last, self._note = -_EVERY, ""

    def advance(self, samples: int, note: str = "") -> None:
        self._note = note or self._note
        now = time.monotonic()
        if now - self._last < _EVERY and samples < self._total:
            return
        self._last = now
        rate = (samples - self._first) / max(now - self._started, 1e-9)
        line = {
            "training": self._title,
            "samples": samples,
            "total": self._total,
            "samples_per_second": round(rate, 1),
            "remaining_seconds": round((self._total - samples) / max(rate, 1e-9), 1),
            "note": self._note,
        }
        print(json.dumps(line), file=sys.stderr, flush=True)
