"""A store's rows in order, some whole moments at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from vlascope.hooks import match_points
from vlascope.store import COLUMNS, ActivationStore, UnitManifest, Where
from vlascope.store.schema import file_name
from vlascope.store.shard import Columns, Shard
from vlascope.store.store import UNITS

__all__ = ["Block", "Pool", "UnitRows", "pooled", "read_units"]

Pool = Literal["none", "mean", "max", "last"]
"""What a row is: a token, or the tokens of a moment put together."""

_MOMENT = 4
"""The columns that say when: episode, step, chunk, call."""


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of some whole moments that follow one another.

    Attributes:
        values: float32 (rows, width).
        columns: int32 (rows, 6), see `vlascope.store.COLUMNS`; numbers are the unit's own.
        starts: int64 (moments,), the first row of each moment.
        first: the number of the first moment within its unit.
    """

    values: Float[Tensor, "rows d"]
    columns: Columns
    starts: npt.NDArray[np.int64]
    first: int

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of rows of each moment."""
        return np.diff(self.starts, append=len(self.columns))


class UnitRows:
    """The wanted rows of one stored unit; values are read as they are asked for."""

    def __init__(self, manifest: UnitManifest, shard: Shard, point: str, where: Where) -> None:
        self.manifest = manifest
        self._values = shard.values(point)
        self._rows = where.rows(manifest, shard.columns(point))
        self._columns = shard.columns(point)[self._rows]
        when = self._columns[:, :_MOMENT]
        changes = np.any(when[1:] != when[:-1], axis=1)
        edges = np.flatnonzero(changes) + 1
        self._starts = np.concatenate([[0], edges]) if len(when) else edges

    @property
    def moments(self) -> Columns:
        """(moments, 4): episode, step, chunk, call of each, in order."""
        return self._columns[self._starts, :_MOMENT]

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """At most `max_rows` rows at a time, or one moment where that alone has more."""
        edges = np.append(self._starts, len(self._columns))
        first = 0
        while first < len(self._starts):
            fits = np.searchsorted(edges, edges[first] + max_rows, side="right") - 1
            last = max(int(fits), first + 1)
            inside = slice(edges[first], edges[last])
            chosen = torch.from_numpy(self._rows[inside])
            yield Block(
                self._values.index_select(0, chosen).float(),
                self._columns[inside],
                self._starts[first:last] - edges[first],
                first,
            )
            first = last


def read_units(store: ActivationStore, point: str, where: Where) -> Iterator[UnitRows]:
    """Every unit that holds wanted rows of a point, one open at a time.

    Raises:
        UnknownName: no unit holds that point; says which do exist.
    """
    name = str(match_points(point, store.points, f"the store {store.path}")[0])
    for manifest in store.units:
        if name in manifest.points and where.concerns(manifest):
            shard = Shard(store.path / UNITS / file_name(manifest.unit))
            yield UnitRows(manifest, shard, name, where)


def pooled(block: Block, pool: Pool) -> Block:
    """One row per moment instead of one per token; token and span are then -1."""
    if pool == "none":
        return block
    lengths = torch.from_numpy(block.lengths)
    if pool == "last":
        values = block.values[torch.from_numpy(block.starts) + lengths - 1]
    else:
        values = torch.segment_reduce(block.values, pool, lengths=lengths, axis=0)
    columns = block.columns[block.starts].copy()
    columns[:, [COLUMNS.index("token"), COLUMNS.index("span")]] = -1
    return Block(values, columns, np.arange(len(columns)), block.first)
