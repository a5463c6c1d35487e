"""A directory of recorded activations: appended to by unit, read by coordinate or by filter."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope.hooks import HookPoint, Moment, TokenSpans, match_points
from vlascope.recording import ActivationCache
from vlascope.store.batches import shuffled
from vlascope.store.catalogue import Catalogue
from vlascope.store.durable import sweep_temporary, write_atomically
from vlascope.store.joining import joined
from vlascope.store.rows import Rows, Where
from vlascope.store.schema import Labels, Provenance, UnitManifest, file_name
from vlascope.store.shard import Shard
from vlascope.store.unit import Entry, encode_unit

__all__ = ["UNITS", "ActivationStore"]

_ABOUT = "store.json"
UNITS = "units"
_ANYWHERE = Where()


class ActivationStore:
    """Activations on disk: one safetensors file per unit of work, whole or not there.

    Reads as an `ActivationSource`, so that `Inject(source=store)` takes values straight from it.
    Files are memory-mapped; at most `open_units` of them stay open.
    """

    def __init__(self, path: Path, provenance: Provenance, *, open_units: int = 64) -> None:
        self.path = path
        self.provenance = provenance
        self._catalogue = Catalogue(path / UNITS)
        self._open: OrderedDict[str, Shard] = OrderedDict()
        self._open_units = open_units

    @classmethod
    def create(cls, path: str | Path, provenance: Provenance) -> ActivationStore:
        """Start a store, or go on with one of the same kind; for one writer at a time.

        Raises:
            IncompatibleError: the directory holds another policy's or another kind of recording.
        """
        path = Path(path)
        if not (path / _ABOUT).exists():
            write_atomically(path / _ABOUT, provenance.model_dump_json(indent=1).encode())
        store = cls.open(path)
        differ = store.provenance.differences(provenance)
        if differ:
            listed = "; ".join(
                f"{k}: {old!r} there, {new!r} now" for k, (old, new) in differ.items()
            )
            raise IncompatibleError(
                f"{path} holds another kind of recording ({listed}); record into another directory"
            )
        store.provenance = provenance
        sweep_temporary(path / UNITS)
        return store

    @classmethod
    def open(cls, path: str | Path, *, open_units: int = 64) -> ActivationStore:
        """Open a store for reading.

        Raises:
            FileMissing: there is no store.
            CorruptFile: it is no vlascope store.
        """
        path = Path(path)
        about = path / _ABOUT
        if not about.exists():
            raise FileMissing(f"{path} is no activation store: it has no {_ABOUT}")
        try:
            provenance = Provenance.model_validate_json(about.read_bytes())
        except ValidationError as error:
            raise CorruptFile(
                f"{about} does not describe an activation store: {error.errors()[0]['msg']}; "
                "every unit holds the same provenance: delete this file and record into the "
                "directory again to write it anew"
            ) from error
        return cls(path, provenance, open_units=open_units)

    def write(
        self,
        unit: str,
        entries: Mapping[HookPoint, Sequence[Entry]],
        labels: Mapping[str, Labels] | None = None,
    ) -> Path:
        """Write one unit, replacing what was stored under that name.

        Args:
            unit: usually an episode's name.
            entries: what was recorded, by hook point.
            labels: what is known of each episode, by name (`task`, `seed`, `success`).

        Raises:
            ValueError: another unit holds one of its episodes already.
            DiskFull: no space left; nothing stored before is lost.
        """
        name = file_name(unit)
        moments = (row.moment for rows in entries.values() for row in rows)
        episodes = {m.episode for m in moments} | set(labels or {})
        for episode in episodes:
            held = self._catalogue.file_of(episode)
            if held not in (None, name):
                raise ValueError(f"episode {episode!r} is already in {held}; name units apart")
        path = self.path / UNITS / name
        write_atomically(path, encode_unit(unit, self.provenance, entries, labels or {}))
        self._open.pop(name, None)
        self._catalogue.add(name)
        return path

    def adopt(self, unit: str, raw: bytes) -> Path:
        """Write the file of a unit that another process built, replacing what went by its name.

        Raises:
            CorruptFile: it is no whole unit.
            DiskFull: no space left; nothing stored before is lost.
        """
        name = file_name(unit)
        path = self.path / UNITS / name
        write_atomically(path, raw)
        self._open.pop(name, None)
        self._catalogue.add(name)
        return path

    def path_of(self, episode: str) -> Path:
        """The file that holds an episode.

        Raises:
            FileMissing: none does.
        """
        name = self._catalogue.file_of(episode)
        if name is None:
            raise FileMissing(f"{self.path} holds no activations of episode {episode!r}")
        return self.path / UNITS / name

    def add(
        self, unit: str, cache: ActivationCache, labels: Mapping[str, Labels] | None = None
    ) -> Path:
        """Write what a recorder holds in memory as one unit."""
        entries = {
            point: [
                Entry(
                    moment, tokens, captured.firing.spans[i] if captured.firing.spans else None, v
                )
                for captured in cache[point]
                for i, (moment, tokens, v) in enumerate(
                    zip(captured.firing.moments, captured.tokens, captured.rows, strict=True)
                )
            ]
            for point in cache
        }
        return self.write(unit, entries, labels)

    @property
    def units(self) -> list[UnitManifest]:
        """The manifest of every unit, in the order of their files' names."""
        return list(self._catalogue.manifests().values())

    @property
    def points(self) -> list[HookPoint]:
        """Every hook point that any unit holds."""
        return sorted({HookPoint.parse(p) for unit in self.units for p in unit.points})

    def episodes(self, where: Where = _ANYWHERE) -> dict[str, dict[str, Any]]:
        """The labels of every episode that is wanted, by name."""
        return {
            name: labels
            for unit in self.units
            for name, labels in unit.episodes.items()
            if where.wants(name, labels)
        }

    def __contains__(self, episode: str) -> bool:
        return self._catalogue.file_of(episode) is not None

    def lookup(self, point: HookPoint, moment: Moment) -> Tensor | None:
        """What was recorded there and then, (tokens, width), or None; a view of the file."""
        shard = self._shard_of(moment.episode)
        return None if shard is None else shard.lookup(str(point), moment)

    def spans_at(self, point: HookPoint, moment: Moment) -> TokenSpans | None:
        """The token spans of what `lookup` gives, counted among its tokens; None without spans."""
        shard = self._shard_of(moment.episode)
        return None if shard is None else shard.spans_at(str(point), moment)

    def moments(self, point: HookPoint) -> list[Moment]:
        """Every moment recorded at a point, by unit and in order."""
        return [m for _, shard in self._shards(_ANYWHERE) for m in shard.moments(str(point))]

    def read(self, point: HookPoint | str, where: Where = _ANYWHERE) -> Rows:
        """The wanted rows of a hook point, copied into memory.

        Raises:
            UnknownName: no unit holds that point; says which do exist.
            MisalignedActivations: units differ in width or dtype there.
        """
        name = self._known(point)
        parts = []
        for manifest, shard in self._shards(where):
            if name in manifest.points:
                index = where.rows(manifest, shard.columns(name))
                parts.append((manifest, shard.columns(name), shard.values(name), index))
        return joined(name, parts)

    def by_unit(self, point: HookPoint | str, where: Where = _ANYWHERE) -> Iterator[Rows]:
        """The wanted rows of a hook point one unit after another, in order; memory holds one unit.

        Raises:
            UnknownName: no unit holds that point; says which do exist.
        """
        name = self._known(point)
        for manifest, shard in self._shards(where):
            if name in manifest.points:
                index = where.rows(manifest, shard.columns(name))
                if len(index):
                    part = (manifest, shard.columns(name), shard.values(name), index)
                    yield joined(name, [part])

    def batches(
        self,
        point: HookPoint | str,
        batch_size: int,
        *,
        seed: int = 0,
        where: Where = _ANYWHERE,
        buffer_rows: int = 65536,
        block_rows: int = 256,
        drop_last: bool = False,
    ) -> Iterator[Rows]:
        """One epoch in random order: every wanted row exactly once, the same order every time.

        Blocks of consecutive rows are drawn in random order into a buffer, and rows in random
        order from the buffer, so that memory holds `buffer_rows` rows and no more.

        Args:
            point: which hook point.
            batch_size: rows per batch; the last may be smaller.
            seed: decides the order; use another one for each epoch.
            where: which rows.
            buffer_rows: rows mixed with one another.
            block_rows: consecutive rows read together.
            drop_last: leave out a smaller last batch.
        """
        name = self._known(point)
        files = [f for f, m in self._catalogue.manifests().items() if name in m.points]
        wanted = [f for f in files if where.concerns(self._catalogue.manifests()[f])]
        return shuffled(
            name,
            wanted,
            self._shard,
            where,
            batch_size=batch_size,
            seed=seed,
            buffer_rows=buffer_rows,
            block_rows=block_rows,
            drop_last=drop_last,
        )

    def _known(self, point: HookPoint | str) -> str:
        """The point's name, which must be stored."""
        return str(match_points(str(point), self.points, f"the store {self.path}")[0])

    def _shards(self, where: Where) -> Iterator[tuple[UnitManifest, Shard]]:
        for name, manifest in self._catalogue.manifests().items():
            if where.concerns(manifest):
                yield manifest, self._shard(name)

    def _shard_of(self, episode: str) -> Shard | None:
        name = self._catalogue.file_of(episode)
        return None if name is None else self._shard(name)

    def _shard(self, name: str) -> Shard:
        """An open unit; the one used longest ago is let go of."""
        shard = self._open.get(name)
        if shard is None:
            shard = self._open[name] = Shard(self.path / UNITS / name)
            while len(self._open) > self._open_units:
                self._open.popitem(last=False)
        self._open.move_to_end(name)
        return shard

    def __repr__(self) -> str:
        return f"ActivationStore({os.fspath(self.path)!r}, {len(self.units)} units)"
