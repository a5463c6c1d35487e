"""In which order samples are read: blocks at random into buffers, samples at random from those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Block", "Filling", "Order"]


@dataclass(frozen=True)
class Block:
    """Consecutive samples of one unit."""

    unit: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Filling:
    """What one buffer holds, and in which order it is read.

    Attributes:
        blocks: laid end to end in the buffer.
        order: positions in the buffer, all of them once unless reading starts in the middle.
    """

    blocks: tuple[Block, ...]
    order: npt.NDArray[np.int64]


class Order:
    """Endless epochs over the samples of some units; every epoch has each sample exactly once.

    Where reading stands is one number, how many samples were drawn: reading can go on from there
    without the samples before it being read again.
    """

    def __init__(
        self, counts: Sequence[int], *, seed: int, buffer_rows: int, block_rows: int
    ) -> None:
        """Lay out blocks.

        Args:
            counts: how many samples each unit has.
            seed: decides the order.
            buffer_rows: samples mixed with one another, and held in memory.
            block_rows: consecutive samples that are read together.

        Raises:
            ValueError: there is no sample at all.
        """
        if not sum(counts):
            raise ValueError("there is no sample to draw")
        self.samples = sum(counts)
        self._seed = seed
        self._per_buffer = max(1, buffer_rows // block_rows)
        self._blocks = np.array(
            [
                (unit, start, min(start + block_rows, count))
                for unit, count in enumerate(counts)
                for start in range(0, count, block_rows)
            ],
            np.int64,
        )

    def fillings(self, drawn: int = 0) -> Iterator[Filling]:
        """Buffer after buffer for ever, from the `drawn`-th sample on."""
        epoch, skip = divmod(drawn, self.samples)
        while True:
            yield from self._epoch(epoch, skip)
            epoch, skip = epoch + 1, 0

    def _epoch(self, epoch: int, skip: int) -> Iterator[Filling]:
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._blocks))
        for number, first in enumerate(range(0, len(order), self._per_buffer)):
            table = self._blocks[order[first : first + self._per_buffer]]
            size = int((table[:, 2] - table[:, 1]).sum())
            if skip >= size:
                skip -= size
                continue
            mixed = np.random.default_rng([self._seed, epoch, number]).permutation(size)
            yield Filling(tuple(Block(*map(int, row)) for row in table), mixed[skip:])
            skip = 0
