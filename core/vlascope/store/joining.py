"""Putting rows of several units together, with one list of episode and span names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vlascope.errors import MisalignedActivations
from vlascope.store.rows import Rows
from vlascope.store.schema import COLUMNS, UnitManifest
from vlascope.store.shard import Columns

__all__ = ["NameTable", "Part", "joined"]

Part = tuple[UnitManifest, Columns, Tensor, npt.NDArray[np.int64]]
"""A unit, its columns and values at one point, and which of its rows are wanted."""


class NameTable:
    """Numbers for names, the same over all units."""

    def __init__(self) -> None:
        self._episodes: dict[str, int] = {}
        self._spans: dict[str, int] = {}
        self._labels: list[dict[str, Any]] = []

    @property
    def episodes(self) -> tuple[str, ...]:
        """Names by number."""
        return tuple(self._episodes)

    @property
    def spans(self) -> tuple[str, ...]:
        """Names by number."""
        return tuple(self._spans)

    @property
    def labels(self) -> tuple[dict[str, Any], ...]:
        """By episode number."""
        return tuple(self._labels)

    def renumbered(self, manifest: UnitManifest, columns: Columns) -> Columns:
        """The columns with this table's numbers in place of the unit's."""
        for name, labels in manifest.episodes.items():
            if name not in self._episodes:
                self._episodes[name] = len(self._episodes)
                self._labels.append(labels)
        for name in manifest.spans:
            self._spans.setdefault(name, len(self._spans))
        episodes = np.array([self._episodes[n] for n in manifest.episodes], np.int32)
        spans = np.array([*(self._spans[n] for n in manifest.spans), -1], np.int32)
        new = columns.copy()
        episode, span = COLUMNS.index("episode"), COLUMNS.index("span")
        new[:, episode] = episodes[columns[:, episode]]
        new[:, span] = spans[columns[:, span]]
        return new


def joined(point: str, parts: Sequence[Part]) -> Rows:
    """The wanted rows of every part.

    Raises:
        MisalignedActivations: the parts differ in width or dtype.
    """
    names = NameTable()
    columns: list[Columns] = [np.empty((0, len(COLUMNS)), np.int32)]
    values: list[Tensor] = []
    for manifest, table, stored, index in parts:
        columns.append(names.renumbered(manifest, table[index]))
        values.append(stored.index_select(0, torch.from_numpy(index)))
    return Rows(
        _stacked(point, values),
        np.concatenate(columns),
        names.episodes,
        names.spans,
        names.labels,
    )


def _stacked(point: str, values: Sequence[Tensor]) -> Tensor:
    kinds = {(v.shape[1], v.dtype) for v in values}
    if len(kinds) > 1:
        raise MisalignedActivations(f"{point} is stored in more than one kind: {kinds}")
    return torch.cat(list(values)) if values else torch.empty((0, 0))
