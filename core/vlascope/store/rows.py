"""Choosing rows, and rows as they come back: values with their coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vlascope.store.schema import COLUMNS, UnitManifest
from vlascope.store.shard import Columns

__all__ = ["Rows", "Where"]


@dataclass(frozen=True)
class Where:
    """Which rows to read; every restriction that is set must hold.

    Attributes:
        episodes: globs of episode names.
        tasks: task names (the `task` label).
        labels: values that other labels must equal (`{"success": True}`).
        calls: which calls of a chunk.
        steps: half-open range of environment steps.
        chunks: half-open range of chunks.
        spans: globs of token span names.
        tokens: positions in the policy's sequence.
    """

    episodes: Sequence[str] | None = None
    tasks: Sequence[str] | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    calls: Sequence[int] | None = None
    steps: tuple[int, int] | None = None
    chunks: tuple[int, int] | None = None
    spans: Sequence[str] | None = None
    tokens: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name in ("episodes", "tasks", "spans"):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, (value,))

    def concerns(self, manifest: UnitManifest) -> bool:
        """Whether any episode of the unit is wanted."""
        return any(self.wants(name, labels) for name, labels in manifest.episodes.items())

    def wants(self, episode: str, labels: Mapping[str, Any]) -> bool:
        """Whether an episode is wanted."""
        if self.episodes is not None and not any(fnmatchcase(episode, g) for g in self.episodes):
            return False
        if self.tasks is not None and labels.get("task") not in self.tasks:
            return False
        return all(labels.get(name) == value for name, value in self.labels.items())

    def rows(self, manifest: UnitManifest, columns: Columns) -> npt.NDArray[np.int64]:
        """Which rows of a unit are wanted, in order."""
        column: dict[str, Columns] = dict(zip(COLUMNS, columns.T, strict=True))
        keep = np.ones(len(columns), bool)
        wanted = [i for i, (n, la) in enumerate(manifest.episodes.items()) if self.wants(n, la)]
        if len(wanted) < len(manifest.episodes):
            keep &= np.isin(column["episode"], wanted)
        for name, chosen in (("call", self.calls), ("token", self.tokens)):
            if chosen is not None:
                keep &= np.isin(column[name], list(chosen))
        for name, limits in (("step", self.steps), ("chunk", self.chunks)):
            if limits is not None:
                keep &= (column[name] >= limits[0]) & (column[name] < limits[1])
        if self.spans is not None:
            globs = self.spans
            ids = [i for i, s in enumerate(manifest.spans) if any(fnmatchcase(s, g) for g in globs)]
            keep &= np.isin(column["span"], ids)
        return np.flatnonzero(keep)


@dataclass(frozen=True, eq=False)
class Rows:
    """Activations and where they belong, one row per token.

    Attributes:
        values: (rows, width).
        columns: int32 (rows, 6) named by `COLUMNS`; `episode` and `span` count in the lists here.
        episodes, spans: names; a span of -1 is no span.
        labels: what is known of each episode, in the order of `episodes`.
    """

    values: Tensor
    columns: Columns
    episodes: tuple[str, ...]
    spans: tuple[str, ...]
    labels: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def column(self, name: str) -> npt.NDArray[np.int32]:
        """One integer column, (rows,)."""
        return self.columns[:, COLUMNS.index(name)]

    def episode_of(self) -> npt.NDArray[np.str_]:
        """The episode's name of each row."""
        return np.array(self.episodes, dtype=np.str_)[self.column("episode")]

    def span_of(self) -> npt.NDArray[np.str_]:
        """The token span's name of each row; empty for none."""
        return np.array([*self.spans, ""], dtype=np.str_)[self.column("span")]

    def label(self, name: str) -> npt.NDArray[np.object_]:
        """An episode label of each row (`task`, `seed`, `success`); None where it is not known."""
        known = np.array([la.get(name) for la in self.labels], dtype=object)
        return known[self.column("episode")]

    def take(self, index: npt.NDArray[np.int64]) -> Rows:
        """Some of the rows, in the order given."""
        values = self.values.index_select(0, torch.from_numpy(index))
        return replace(self, values=values, columns=self.columns[index])
