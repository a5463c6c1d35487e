"""Where the numbers of a training go while it runs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vlascope import plugins
from vlascope.store.durable import append_line, cut_torn_line, write_atomically

__all__ = ["JsonLines", "OpenTracker", "Tracker", "Trackers", "json_lines", "open_tracker"]


class Tracker(Protocol):
    """Told of measurements as they are made; anything with these methods will do."""

    def resume(self, samples: int) -> None:
        """Forget what came after so many samples: it will be measured again."""

    def log(self, samples: int, sae: str, numbers: Mapping[str, float]) -> None:
        """What was measured of an autoencoder after so many samples."""

    def close(self) -> None:
        """The training ended, or was interrupted; `resume` comes first if it goes on."""


class OpenTracker(Protocol):
    """What a plugin registers as a tracker: opens one for the results in a folder."""

    def __call__(self, folder: Path, **options: Any) -> Tracker:
        """The tracker, with what a training file says beside its `kind`."""
        ...


class JsonLines:
    """A file with one JSON object per measurement."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resume(self, samples: int) -> None:
        """Cut the lines that came after so many samples."""
        cut_torn_line(self.path)
        if not self.path.exists():
            return
        lines = self.path.read_text("utf-8").splitlines()
        kept = [line for line in lines if json.loads(line)["samples"] <= samples]
        if len(kept) < len(lines):
            write_atomically(self.path, "".join(f"{line}\n" for line in kept).encode())

    def log(self, samples: int, sae: str, numbers: Mapping[str, float]) -> None:
        """Append a line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_line(self.path, json.dumps({"samples": samples, "sae": sae, **numbers}))

    def close(self) -> None:
        """Every line is on disk already."""


def json_lines(folder: Path, *, file: str = "metrics.jsonl") -> JsonLines:
    """A file beside the results, as the tracker `jsonl`."""
    return JsonLines(folder / file)


class Trackers:
    """Several trackers, each told everything."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = trackers

    def resume(self, samples: int) -> None:
        """Resume every one."""
        for tracker in self.trackers:
            tracker.resume(samples)

    def log(self, samples: int, sae: str, numbers: Mapping[str, float]) -> None:
        """Log to every one."""
        for tracker in self.trackers:
            tracker.log(samples, sae, numbers)

    def close(self) -> None:
        """Close every one."""
        for tracker in self.trackers:
            tracker.close()


def open_tracker(kind: str, folder: Path, options: Mapping[str, Any]) -> Tracker:
    """The registered tracker of that kind.

    Raises:
        UnknownName: nothing goes by that kind; near matches are listed.
        ValueError: it takes no such options.
    """
    opener: OpenTracker = plugins.load("trackers", kind)
    try:
        inspect.signature(opener).bind(folder, **options)
    except TypeError as error:
        raise ValueError(f"tracker {kind!r} cannot be opened so: {error}") from None
    return opener(folder, **options)
