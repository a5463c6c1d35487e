"""Training rows straight from an activation store, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing

import torch

from vlascope.errors import IncompatibleError, MisalignedActivations
from vlascope.hooks import HookPoint, match_points
from vlascope.store import ActivationStore
from vlascope.store.schema import file_name
from vlascope.store.shard import Shard
from vlascope.store.store import UNITS
from vlascope_sae.training.dataset import DatasetSpec, held_out
from vlascope_sae.training.order import Block, Filling, Order
from vlascope_sae.training.prefetching import prefetched
from vlascope_sae.training.reading import UnitSamples, same_rows, samples_of
from vlascope_sae.training.source import Source, Taken

__all__ = ["StoreSource", "sources_of"]

_OPEN = 64
"""Units kept mapped, with the row numbers of their samples."""


class StoreSource(Source):
    """One hook point of a store; `target` is another one with the same tokens (a transcoder).

    Memory holds three buffers of `buffer_rows` samples: one being read, one full, one being filled.

    Raises:
        UnknownName: the store has no such hook point.
        MisalignedActivations: the target's rows are not of the same tokens.
        IncompatibleError: no row is wanted, or there are too few episodes to hold any out.
        ValueError: pairs are asked of a transcoder.
    """

    def __init__(
        self,
        store: ActivationStore,
        point: HookPoint | str,
        spec: DatasetSpec | None = None,
        *,
        target: HookPoint | str | None = None,
        pairs: bool = False,
        seed: int = 0,
        buffer_rows: int = 65536,
        block_rows: int = 256,
    ) -> None:
        spec = spec or DatasetSpec()
        if pairs and target is not None:
            raise ValueError("a transcoder takes rows, not pairs of adjacent times")
        owner = f"the store {store.path}"
        self.point = match_points(str(point), store.points, owner)[0]
        self.target = None if target is None else match_points(str(target), store.points, owner)[0]
        self.name = f"{self.point}-to-{self.target}" if self.target else str(self.point)
        if pairs:
            self.name += "-pairs"
        self.spec, self.outliers, self.pairs = spec, spec.outliers, pairs
        self.store = store
        self._units = [u for u in store.units if str(self.point) in u.points]
        self._open: OrderedDict[tuple[int, bool], tuple[Shard, UnitSamples]] = OrderedDict()
        self._validation_episodes = self._split()
        self._check_widths()
        counts = [self._count(u, training=True) for u in range(len(self._units))]
        if not sum(counts):
            raise IncompatibleError(f"{self.name}: no row of {store.path} is wanted by {spec!r}")
        self._order = Order(counts, seed=seed, buffer_rows=buffer_rows, block_rows=block_rows)
        self._held_out = [self._count(u, training=False) for u in range(len(self._units))]
        self._buffer_rows = buffer_rows

    @property
    def validation_episodes(self) -> frozenset[str]:
        """The episodes held out."""
        return self._validation_episodes

    @property
    def training_rows(self) -> int:
        """Samples in one epoch."""
        return self._order.samples

    @property
    def held_out_rows(self) -> int:
        """How many samples `validation` gives."""
        return sum(self._held_out)

    def stream(self, rows: int, *, drawn: int = 0) -> Iterator[Taken]:
        """Training rows in batches of `rows`, for ever, from the `drawn`-th row on."""
        carried: list[Taken] = []
        with closing(prefetched(self._buffers(drawn))) as buffers:
            for buffer, order in buffers:
                start = 0
                while start < len(order):
                    missing = rows - sum(map(len, carried))
                    carried.append(buffer.rows(order[start : start + missing]))
                    start += missing
                    if start <= len(order):
                        yield _joined(carried)
                        carried = []

    def validation(self, rows: int, *, limit: int | None = None) -> Iterator[Taken]:
        """The held-out rows once, unit by unit; with a limit, the same share of every unit."""
        share = 1.0 if limit is None else min(1.0, limit / max(1, self.held_out_rows))
        for unit, count in enumerate(self._held_out):
            shown = round(count * share)
            for start in range(0, shown, rows):
                block = Block(unit, start, min(start + rows, shown))
                yield self._read(block, training=False)

    def _buffers(self, drawn: int) -> Iterator[tuple[Taken, torch.Tensor]]:
        for filling in self._order.fillings(drawn):
            yield self._filled(filling), torch.from_numpy(filling.order)

    def _filled(self, filling: Filling) -> Taken:
        """The blocks of a buffer laid end to end, each copied once."""
        size = sum(b.stop - b.start for b in filling.blocks)
        buffer: Taken | None = None
        at = 0
        for block in filling.blocks:
            part = self._read(block, training=True)
            if buffer is None:
                buffer = _room(size, part)
            buffer.x[at : at + len(part)] = part.x
            if buffer.target is not None and part.target is not None:
                buffer.target[at : at + len(part)] = part.target
            at += len(part)
        assert buffer is not None
        return buffer

    def _read(self, block: Block, *, training: bool) -> Taken:
        shard, samples = self._samples(block.unit, training=training)
        read = samples.read_pairs if samples.pairs is not None else samples.read
        where = block.start, block.stop, self.spec.pool
        x = read(shard.values(str(self.point)), *where)
        if self.target is None:
            return Taken(x)
        return Taken(x, samples.read(shard.values(str(self.target)), *where))

    def _samples(self, unit: int, *, training: bool) -> tuple[Shard, UnitSamples]:
        """A unit's file and its samples; those used longest ago are let go of."""
        key = (unit, training)
        if key not in self._open:
            manifest = self._units[unit]
            shard = Shard(self.store.path / UNITS / file_name(manifest.unit))
            if self.target is not None:
                same_rows(shard, str(self.point), str(self.target))
            held = self._validation_episodes
            episodes = set(manifest.episodes) - held if training else held
            found = samples_of(
                shard,
                str(self.point),
                self.spec.where,
                episodes,
                self.spec.pool,
                pairs=self.pairs and training,
            )
            self._open[key] = shard, found
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(key)
        return self._open[key]

    def _count(self, unit: int, *, training: bool) -> int:
        samples = self._samples(unit, training=training)[1]
        return len(samples if samples.pairs is None else samples.pairs)

    def _split(self) -> frozenset[str]:
        where = self.spec.where
        wanted = [n for u in self._units for n, la in u.episodes.items() if where.wants(n, la)]
        if not wanted:
            raise IncompatibleError(
                f"{self.name}: no episode of {self.store.path} is wanted by {self.spec!r}"
            )
        try:
            return held_out(wanted, self.spec.validation, self.spec.split_seed)
        except ValueError as error:
            raise IncompatibleError(f"{self.name}: {error}") from error

    def _check_widths(self) -> None:
        def width(point: HookPoint) -> int:
            found = {u.points[str(point)].width for u in self._units if str(point) in u.points}
            if len(found) != 1:
                raise MisalignedActivations(f"{point} is stored in more than one width: {found}")
            return found.pop()

        self.width = width(self.point)
        self.target_width = None if self.target is None else width(self.target)


def sources_of(
    store: ActivationStore,
    points: str | Sequence[str],
    spec: DatasetSpec | None = None,
    *,
    seed: int = 0,
    buffer_rows: int = 65536,
) -> list[StoreSource]:
    """One source for each hook point that the globs name.

    Raises:
        UnknownName: a glob names nothing; the message lists what the store holds.
    """
    found = match_points(points, store.points, f"the store {store.path}")
    return [StoreSource(store, p, spec, seed=seed, buffer_rows=buffer_rows) for p in found]


def _room(rows: int, like: Taken) -> Taken:
    """Memory for so many rows."""
    target = None if like.target is None else like.target.new_empty(rows, like.target.shape[1])
    return Taken(like.x.new_empty(rows, *like.x.shape[1:]), target)


def _joined(parts: Sequence[Taken]) -> Taken:
    if len(parts) == 1:
        return parts[0]
    targets = [p.target for p in parts if p.target is not None]
    return Taken(torch.cat([p.x for p in parts]), torch.cat(targets) if targets else None)
