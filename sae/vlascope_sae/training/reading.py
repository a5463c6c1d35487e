"""Samples of one stored unit: which rows make each of them, and their values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from vlascope.errors import MisalignedActivations
from vlascope.store.rows import Where
from vlascope.store.schema import COLUMNS
from vlascope.store.shard import Shard
from vlascope_sae.training.dataset import Pool

__all__ = ["UnitSamples", "same_rows", "samples_of"]

_MOMENT = slice(0, COLUMNS.index("token"))
"""The columns that say when: episode, step, chunk, call."""


@dataclass(frozen=True, eq=False)
class UnitSamples:
    """Which rows of a unit are wanted, and where each sample begins among them.

    Attributes:
        rows: rows of the unit, ascending.
        bounds: (samples + 1,) positions in `rows`; None where every row is a sample.
        pairs: (pairs, 2) samples of the same token and call at adjacent times; None unless asked
            for.
    """

    rows: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64] | None
    pairs: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.rows) if self.bounds is None else len(self.bounds) - 1

    def read_pairs(
        self, values: Float[Tensor, "all d"], start: int, stop: int, pool: Pool
    ) -> Float[Tensor, "pairs 2 d"]:
        """Pairs `start` to `stop`: the sample now, and the same at its next time."""
        assert self.pairs is not None
        found = []
        for which in self.pairs[start:stop].T:
            low, high = int(which.min()), int(which.max()) + 1
            found.append(self.read(values, low, high, pool)[torch.from_numpy(which - low)])
        return torch.stack(found, 1)

    def read(
        self, values: Float[Tensor, "all d"], start: int, stop: int, pool: Pool
    ) -> Float[Tensor, "samples d"]:
        """Samples `start` to `stop`, pooled; in the stored precision, or float32 where summed."""
        if self.bounds is None:
            return _rows(values, self.rows[start:stop])
        bounds = self.bounds[start : stop + 1]
        if pool == "last":
            return _rows(values, self.rows[bounds[1:] - 1])
        tokens = _rows(values, self.rows[bounds[0] : bounds[-1]]).float()
        lengths = torch.from_numpy(np.diff(bounds))
        return torch.segment_reduce(tokens, pool, lengths=lengths)


def samples_of(
    shard: Shard,
    point: str,
    where: Where,
    episodes: Collection[str],
    pool: Pool,
    *,
    pairs: bool = False,
) -> UnitSamples:
    """The samples of a unit at a hook point: rows that `where` wants, of these episodes."""
    columns = shard.columns(point)
    rows = where.rows(shard.manifest, columns)
    wanted = [i for i, name in enumerate(shard.manifest.episodes) if name in episodes]
    if len(wanted) < len(shard.manifest.episodes):
        rows = rows[np.isin(columns[rows, COLUMNS.index("episode")], wanted)]
    bounds = None if pool == "none" else _bounds(columns[rows])
    if not pairs:
        return UnitSamples(rows, bounds)
    first = columns[rows] if bounds is None else columns[rows[bounds[:-1]]]
    return UnitSamples(rows, bounds, _successors(first))


def same_rows(shard: Shard, point: str, target: str) -> None:
    """Check that two hook points of a unit carry the same tokens at the same moments.

    Raises:
        MisalignedActivations: they do not.
    """
    entries = shard.manifest.points
    if target not in entries or entries[point].columns != entries[target].columns:
        raise MisalignedActivations(
            f"{shard.path}: {target} cannot be predicted from {point}: their rows are not of the "
            "same moments and tokens; record both with the same calls, spans and pooling"
        )


def _rows(values: Tensor, rows: npt.NDArray[np.int64]) -> Tensor:
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return values[int(rows[0]) : int(rows[-1]) + 1]
    return values.index_select(0, torch.from_numpy(rows))


def _bounds(columns: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Where another moment begins, and the end."""
    if not len(columns):
        return np.zeros(1, np.int64)
    changes = np.any(np.diff(columns[:, _MOMENT], axis=0) != 0, axis=1)
    return np.concatenate([[0], np.flatnonzero(changes) + 1, [len(columns)]]).astype(np.int64)


def _successors(columns: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """(pairs, 2): samples of one episode, call and token that follow each other in time."""
    episode, step, chunk, call, token = (columns[:, COLUMNS.index(n)] for n in COLUMNS[:5])
    order = np.lexsort((chunk, step, token, call, episode))
    same = np.ones(max(len(order) - 1, 0), bool)
    for column in (episode, call, token):
        same &= column[order[1:]] == column[order[:-1]]
    found = np.stack([order[:-1][same], order[1:][same]], axis=1)
    return found[np.argsort(found[:, 0], kind="stable")]
