"""Which activations an autoencoder sees, and which episodes are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vlascope.store.rows import Where

__all__ = ["DatasetSpec", "Pool", "held_out"]

Pool = Literal["none", "mean", "last", "max"]


class DatasetSpec(BaseModel):
    """Which rows of a hook point make a data set.

    Attributes:
        spans: globs of token spans; None for every token.
        pool: `none` makes a sample of every token; `mean`, `last` and `max` make one of all
            wanted tokens of a firing.
        calls: which calls of a chunk; None for all.
        episodes: globs of episode names; None for all.
        tasks: task names; None for all.
        labels: values that other episode labels must equal (`{success: true}`).
        validation: share of the episodes held out.
        split_seed: decides which.
        outliers: rows whose norm is above so many medians are dropped and counted; None: none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spans: tuple[str, ...] | None = None
    pool: Pool = "none"
    calls: tuple[int, ...] | None = None
    episodes: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    labels: dict[str, Any] = Field(default_factory=dict)
    validation: float = Field(default=0.1, ge=0, lt=1)
    split_seed: int = 0
    outliers: float | None = Field(default=10.0, gt=1)

    @field_validator("spans", "episodes", "tasks", "calls", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str | int) else value

    @property
    def where(self) -> Where:
        """The same as a store's filter, but for the split."""
        return Where(
            episodes=self.episodes,
            tasks=self.tasks,
            labels=self.labels,
            calls=self.calls,
            spans=self.spans,
        )


def held_out(episodes: Iterable[str], share: float, seed: int = 0) -> frozenset[str]:
    """The episodes kept for validation: `share` of them, at least one, never all.

    Episodes are ranked by a hash of their name, so that the order in which they were recorded
    does not matter, and one that leaves the store moves hardly any other across the split.

    Raises:
        ValueError: there are too few episodes to hold one out.
    """
    names = sorted(set(episodes))
    if share == 0:
        return frozenset()
    if len(names) < 2:
        raise ValueError(
            f"holding episodes out needs at least 2; got {len(names)} ({names}): record more, "
            "or set validation to 0 and train without"
        )
    ranked = sorted(names, key=lambda n: hashlib.sha256(f"{seed}:{n}".encode()).digest())
    return frozenset(ranked[: min(max(1, round(share * len(names))), len(names) - 1)])
