"""Building the file of one unit: tensors by hook point, and the columns of their rows."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vlascope.errors import MisalignedActivations
from vlascope.hooks import HookPoint, Moment, TokenSpans
from vlascope.store.schema import COLUMNS, Labels, PointEntry, Provenance, UnitManifest

__all__ = ["Entry", "encode_unit"]

_SAFE = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int32": "I32"}
_NO_SPAN = -1

_Layout = tuple[tuple[tuple[str, tuple[int, int]], ...], tuple[int, ...]]
"""Spans and the tokens kept."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One row of one firing: when, which tokens were kept, and their values (tokens, width)."""

    moment: Moment
    tokens: tuple[int, ...]
    spans: TokenSpans | None
    value: Tensor


def encode_unit(
    unit: str,
    provenance: Provenance,
    entries: Mapping[HookPoint, Sequence[Entry]],
    labels: Mapping[str, Labels],
) -> list[bytes | memoryview]:
    """The parts of a safetensors file, in order; nothing is copied twice.

    Args:
        unit: the unit's name.
        provenance: where it comes from.
        entries: what was recorded, by hook point.
        labels: what is known of each episode, by name.

    Raises:
        MisalignedActivations: entries of one point differ in width or dtype.
    """
    builder = _Builder(labels)
    for point, rows in sorted(entries.items()):
        if rows:
            builder.add(str(point), rows)
    tensors = builder.tensors()
    manifest = UnitManifest(
        unit=unit,
        provenance=provenance,
        episodes={name: dict(labels.get(name, {})) for name in builder.episodes},
        spans=tuple(builder.spans),
        points=builder.points,
        checksums={name: zlib.crc32(_raw(tensor)) for name, tensor in tensors.items()},
    )
    return [_header(tensors, manifest), *(_raw(tensor) for tensor in tensors.values())]


class _Builder:
    """Collects tensors; points whose rows have equal coordinates share one table of columns."""

    def __init__(self, episodes: Mapping[str, Labels]) -> None:
        self.points: dict[str, PointEntry] = {}
        self.episodes: dict[str, int] = {name: i for i, name in enumerate(episodes)}
        self.spans: dict[str, int] = {}
        self._values: dict[str, Tensor] = {}
        self._columns: dict[str, Tensor] = {}
        self._coordinates: list[tuple[str, Sequence[Entry]]] = []
        self._layouts: dict[_Layout, npt.NDArray[np.int32]] = {}

    def add(self, point: str, rows: Sequence[Entry]) -> None:
        kinds = {(row.value.shape[1:], row.value.dtype) for row in rows}
        if len(kinds) != 1 or any(len(row.tokens) != len(row.value) for row in rows):
            raise MisalignedActivations(
                f"{point} was recorded in more than one width or dtype ({sorted(map(str, kinds))})"
                ", or with another number of tokens than its rows name"
            )
        joined = torch.cat([row.value for row in rows])
        value = joined.detach().to("cpu").contiguous()
        self._values[point] = value
        self.points[point] = PointEntry(
            rows=value.shape[0],
            width=value.shape[1],
            dtype=str(value.dtype).removeprefix("torch."),  # type: ignore[arg-type]
            columns=self._columns_of(rows),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Widest elements first, so that every tensor is aligned to its own size."""
        found = {**self._columns, **self._values}
        return dict(sorted(found.items(), key=lambda item: -item[1].element_size()))

    def _columns_of(self, rows: Sequence[Entry]) -> str:
        for name, known in self._coordinates:
            if _same_coordinates(known, rows):
                return name
        name = f"columns.{len(self._coordinates)}"
        self._coordinates.append((name, rows))
        self._columns[name] = torch.from_numpy(self._table(rows))
        return name

    def _table(self, rows: Sequence[Entry]) -> npt.NDArray[np.int32]:
        """(tokens of all entries, 6)."""
        lengths = [len(row.tokens) for row in rows]
        table: npt.NDArray[np.int32] = np.empty((sum(lengths), len(COLUMNS)), np.int32)
        moments = [
            (self._episode(m.episode), m.step, m.chunk, m.call)
            for m in (row.moment for row in rows)
        ]
        table[:, :4] = np.repeat(np.array(moments, np.int32), lengths, axis=0)
        table[:, 4] = np.fromiter(chain.from_iterable(r.tokens for r in rows), np.int32)
        table[:, 5] = np.concatenate([self._spans_of(row.spans, row.tokens) for row in rows])
        return table

    def _episode(self, name: str) -> int:
        return self.episodes.setdefault(name, len(self.episodes))

    def _spans_of(self, spans: TokenSpans | None, tokens: tuple[int, ...]) -> npt.NDArray[np.int32]:
        """The span's number of each token; worked out once per layout."""
        layout = (() if spans is None else tuple(spans.pairs().items()), tokens)
        if layout not in self._layouts:
            at = np.asarray(tokens, np.int64)
            found: npt.NDArray[np.int32] = np.full(len(at), _NO_SPAN, np.int32)
            for name, (start, stop) in layout[0]:
                number = self.spans.setdefault(name, len(self.spans))
                found[(at >= start) & (at < stop)] = number
            self._layouts[layout] = found
        return self._layouts[layout]


def _same_coordinates(left: Sequence[Entry], right: Sequence[Entry]) -> bool:
    return len(left) == len(right) and all(
        a.moment == b.moment
        and a.tokens == b.tokens
        and (a.spans is b.spans or _pairs(a.spans) == _pairs(b.spans))
        for a, b in zip(left, right, strict=True)
    )


def _pairs(spans: TokenSpans | None) -> dict[str, tuple[int, int]] | None:
    return None if spans is None else spans.pairs()


def _raw(tensor: Tensor) -> memoryview:
    flat = tensor.reshape(-1)
    if not flat.numel():
        return memoryview(b"")
    return memoryview(flat.view(torch.uint8).numpy())


def _header(tensors: Mapping[str, Tensor], manifest: UnitManifest) -> bytes:
    """The length and the JSON of a safetensors header, padded to 8 bytes."""
    entries: dict[str, object] = {"__metadata__": {"vlascope": manifest.model_dump_json()}}
    for name, (start, stop) in zip(tensors, _offsets(tensors.values()), strict=True):
        entries[name] = {
            "dtype": _SAFE[str(tensors[name].dtype).removeprefix("torch.")],
            "shape": list(tensors[name].shape),
            "data_offsets": [start, stop],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _offsets(tensors: Iterable[Tensor]) -> Iterator[tuple[int, int]]:
    start = 0
    for tensor in tensors:
        stop = start + tensor.numel() * tensor.element_size()
        yield start, stop
        start = stop
