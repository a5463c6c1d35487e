"""A Parquet table of what a store holds, rebuilt from the units' manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vlascope.store.durable import write_atomically
from vlascope.store.schema import file_name
from vlascope.store.store import ActivationStore

__all__ = ["rebuild_index"]

_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


def rebuild_index(store: ActivationStore) -> Path:
    """Write `index.parquet`, one row per (unit, hook point), for tools that read tables.

    The store itself never reads it; the units' manifests are the truth.
    """
    rows = [
        {
            "unit": manifest.unit,
            "file": file_name(manifest.unit),
            "episodes": list(manifest.episodes),
            "labels": json.dumps(manifest.episodes, sort_keys=True),
            "point": point,
            "rows": entry.rows,
            "width": entry.width,
            "dtype": entry.dtype,
            "bytes": entry.rows * entry.width * _BYTES[entry.dtype],
        }
        for manifest in store.units
        for point, entry in manifest.points.items()
    ]
    path = store.path / "index.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), sink)
    write_atomically(path, sink.getvalue().to_pybytes())
    return path


_SCHEMA = pa.schema(
    [
        ("unit", pa.string()),
        ("file", pa.string()),
        ("episodes", pa.list_(pa.string())),
        ("labels", pa.string()),
        ("point", pa.string()),
        ("rows", pa.int64()),
        ("width", pa.int64()),
        ("dtype", pa.string()),
        ("bytes", pa.int64()),
    ]
)
