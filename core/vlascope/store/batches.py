"""Rows in random order with bounded memory: blocks into a buffer, rows out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlascope.store.joining import Part, joined
from vlascope.store.rows import Rows, Where
from vlascope.store.shard import Shard

__all__ = ["shuffled"]


@dataclass(frozen=True)
class _Block:
    """Some wanted rows of one file that follow one another."""

    file: str
    rows: npt.NDArray[np.int64]


def shuffled(
    point: str,
    files: Sequence[str],
    shard: Callable[[str], Shard],
    where: Where,
    *,
    batch_size: int,
    seed: int,
    buffer_rows: int,
    block_rows: int,
    drop_last: bool,
) -> Iterator[Rows]:
    """Every wanted row of a point exactly once, in an order that `seed` decides."""
    if min(batch_size, buffer_rows, block_rows) < 1:
        raise ValueError("batch_size, buffer_rows and block_rows are at least 1")
    rng = np.random.default_rng(seed)
    blocks = [b for f in files for b in _blocks(point, f, shard(f), where, block_rows)]
    order = [blocks[i] for i in rng.permutation(len(blocks))]
    left: list[_Block] = []
    while order or left:
        taken, order = _fill(left, order, max(buffer_rows, batch_size))
        rows = joined(point, [_part(point, shard(b.file), b) for b in taken])
        shuffle = rng.permutation(len(rows))
        whole = len(rows) if not order else len(rows) - len(rows) % batch_size
        for start in range(0, whole, batch_size):
            batch = shuffle[start : min(start + batch_size, whole)]
            if len(batch) == batch_size or not drop_last:
                yield rows.take(batch)
        left = _remaining(taken, np.sort(shuffle[whole:]))


def _blocks(point: str, file: str, shard: Shard, where: Where, block_rows: int) -> Iterator[_Block]:
    rows = where.rows(shard.manifest, shard.columns(point))
    for start in range(0, len(rows), block_rows):
        yield _Block(file, rows[start : start + block_rows])


def _fill(
    left: Sequence[_Block], order: Sequence[_Block], buffer_rows: int
) -> tuple[list[_Block], list[_Block]]:
    """Blocks for one buffer, at least one new one where there is any, and what remains."""
    taken, filled = list(left), sum(len(b.rows) for b in left)
    used = 0
    for block in order:
        if used and filled + len(block.rows) > buffer_rows:
            break
        taken.append(block)
        filled += len(block.rows)
        used += 1
    return taken, list(order[used:])


def _part(point: str, shard: Shard, block: _Block) -> Part:
    return shard.manifest, shard.columns(point), shard.values(point), block.rows


def _remaining(taken: Sequence[_Block], positions: npt.NDArray[np.int64]) -> list[_Block]:
    """The rows at these positions of the buffer, as blocks again."""
    left, start = [], 0
    for block in taken:
        stop = start + len(block.rows)
        inside = positions[(positions >= start) & (positions < stop)] - start
        if len(inside):
            left.append(_Block(block.file, block.rows[inside]))
        start = stop
    return left
