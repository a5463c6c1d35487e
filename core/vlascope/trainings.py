"""A policy that can be made from nothing: what `vlascope zoo` asks of a plugin that has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Training"]


class Training(Protocol):
    """What a name registered by `register_trainings` leads to."""

    def collect(
        self, folder: Path | None, workers: int, on_task: Callable[[str, int, int], None]
    ) -> dict[str, Path]:
        """Collect demonstrations where missing: files by task.

        `on_task` is told a task that is there, and how many demonstrations of how many are.
        """
        ...

    def train(
        self,
        recipe: Path | None,
        demos: dict[str, Path],
        out: Path,
        on_step: Callable[[int, int, float], None],
    ) -> float:
        """Train from these files and write the policy to `out`: CPU seconds it took.

        Stopped at any moment, it goes on where it was and ends with the same weights. `on_step`
        is told step, steps in all and loss. `recipe` is a file to use instead of its own.
        """
        ...

    def evaluate(
        self,
        checkpoint: str,
        tasks: Sequence[str] | None,
        out: Path,
        *,
        episodes: int,
        max_steps: int | None,
        instruction: str | None,
        workers: int,
    ) -> Any:
        """Success per task on unseen seeds, a `SuccessTable`; of `bundled` or of a folder."""
