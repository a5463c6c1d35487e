"""Reading one unit's file through memory mapping, by row or by coordinate."""

from __future__ import annotations

import json
import mmap
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import Tensor

from vlascope.errors import ChecksumMismatch, CorruptFile
from vlascope.hooks import Moment, TokenSpans
from vlascope.store.schema import COLUMNS, UnitManifest

__all__ = ["Columns", "Shard", "read_manifest"]

Columns = npt.NDArray[np.int32]
"""(rows, 6): see `schema.COLUMNS`."""

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32}
_LARGEST_HEADER = 100_000_000
_FIX = "run `vlascope store verify DIR --drop-broken` to set it aside, then record it again"

Coordinate = tuple[int, int, int, int]


def read_manifest(path: Path) -> UnitManifest:
    """What a file says of itself, without mapping its data.

    Raises:
        CorruptFile: the file is truncated, foreign or of another schema.
    """
    return _read_header(path)[0]


class Shard:
    """One unit, open for reading; tensors are views of the file and cost no memory of their own.

    Raises:
        CorruptFile: the file is truncated, foreign or of another schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest, self._entries, self._data = _read_header(path)
        self._episodes = {name: i for i, name in enumerate(self.manifest.episodes)}
        self._spans = self.manifest.spans
        self._indices: dict[str, dict[Coordinate, tuple[int, int]]] = {}
        self._tables: dict[str, Columns] = {}
        self._values: dict[str, Tensor] = {}

    def values(self, point: str) -> Tensor:
        """Every row of a hook point, (rows, width)."""
        if point not in self._values:
            self._values[point] = self._tensor(point)
        return self._values[point]

    def columns(self, point: str) -> Columns:
        """The coordinates of those rows, (rows, 6)."""
        name = self.manifest.points[point].columns
        if name not in self._tables:
            self._tables[name] = self._tensor(name).numpy()
        return self._tables[name]

    def lookup(self, point: str, moment: Moment) -> Tensor | None:
        """The tokens recorded there and then, (tokens, width), or None."""
        found = self._range(point, moment)
        return None if found is None else self.values(point)[found[0] : found[1]]

    def spans_at(self, point: str, moment: Moment) -> TokenSpans | None:
        """The spans of the tokens that `lookup` gives, counted among those; None without spans."""
        found = self._range(point, moment)
        if found is None:
            return None
        ids = self.columns(point)[found[0] : found[1], COLUMNS.index("span")]
        starts = np.flatnonzero(np.diff(ids, prepend=np.int32(-2)))
        stops = [*starts[1:], len(ids)]
        pairs = {
            self._spans[ids[start]]: (int(start), int(stop))
            for start, stop in zip(starts, stops, strict=True)
            if ids[start] >= 0
        }
        return TokenSpans(pairs) if pairs else None

    def moments(self, point: str) -> list[Moment]:
        """Every moment recorded at a point, in order."""
        if point not in self.manifest.points:
            return []
        names = list(self.manifest.episodes)
        return [Moment(names[e], step, chunk, call) for e, step, chunk, call in self._index(point)]

    def verify(self) -> None:
        """Compare every tensor with its checksum.

        Raises:
            ChecksumMismatch: naming the file and the tensor.
        """
        for name, expected in self.manifest.checksums.items():
            start, stop = self._entries[name]["data_offsets"]
            if (
                zlib.crc32(memoryview(self._map)[self._data + start : self._data + stop])
                != expected
            ):
                raise ChecksumMismatch(f"{self.path}: {name} is not what was written; {_FIX}")

    def _range(self, point: str, moment: Moment) -> tuple[int, int] | None:
        episode = self._episodes.get(moment.episode)
        if episode is None or point not in self.manifest.points:
            return None
        return self._index(point).get((episode, moment.step, moment.chunk, moment.call))

    def _index(self, point: str) -> dict[Coordinate, tuple[int, int]]:
        """Rows by coordinate, worked out once per table of columns."""
        name = self.manifest.points[point].columns
        if name not in self._indices:
            self._indices[name] = _ranges(self.columns(point)[:, :4])
        return self._indices[name]

    @cached_property
    def _map(self) -> mmap.mmap:
        """The whole file, copy-on-write, so that an in-place edit never reaches the disk."""
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    def _tensor(self, name: str) -> Tensor:
        entry = self._entries[name]
        shape, dtype = entry["shape"], _DTYPES[entry["dtype"]]
        count = int(np.prod(shape))
        if not count:
            return torch.empty(shape, dtype=dtype)
        offset = self._data + entry["data_offsets"][0]
        return torch.frombuffer(self._map, dtype=dtype, count=count, offset=offset).reshape(shape)


def _ranges(table: Columns) -> dict[Coordinate, tuple[int, int]]:
    """Where each coordinate's rows start and stop; they follow one another."""
    if not len(table):
        return {}
    changes = np.flatnonzero(np.any(table[1:] != table[:-1], axis=1)) + 1
    edges = [0, *changes.tolist(), len(table)]
    keys: list[Coordinate] = [(e, s, c, k) for e, s, c, k in table[edges[:-1]].tolist()]
    return {key: (edges[i], edges[i + 1]) for i, key in enumerate(keys)}


def _read_header(path: Path) -> tuple[UnitManifest, dict[str, Any], int]:
    """The manifest, the tensors' entries, and where the data begins."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _LARGEST_HEADER:
                raise ValueError("it is no safetensors file")
            entries = json.loads(file.read(length))
        manifest = UnitManifest.model_validate_json(entries.pop("__metadata__")["vlascope"])
        expected = 8 + length + max((e["data_offsets"][1] for e in entries.values()), default=0)
        if path.stat().st_size != expected:
            raise ValueError(f"it has {path.stat().st_size} bytes instead of {expected}")
        missing = set(manifest.checksums) ^ set(entries)
        if missing:
            raise ValueError(f"its manifest and its tensors differ: {sorted(missing)}")
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        why = "it is of another schema" if isinstance(error, ValidationError) else str(error)
        raise CorruptFile(
            f"{path} is not a whole vlascope.activations/1 unit: {why}; {_FIX}"
        ) from error
    return manifest, entries, 8 + length
