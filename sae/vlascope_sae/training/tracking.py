"""Where the numbers of a training go while it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from vlascope.store.durable import append_line, cut_torn_line, write_atomically

__all__ = ["JsonLines", "Tracker"]


class Tracker(Protocol):
    """Told of measurements as they are made; anything with these two methods will do."""

    def resume(self, samples: int) -> None:
        """Forget what came after so many samples: it will be measured again."""

    def log(self, samples: int, sae: str, numbers: Mapping[str, float]) -> None:
        """What was measured of an autoencoder after so many samples."""


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
