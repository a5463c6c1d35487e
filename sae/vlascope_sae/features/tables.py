"""The tables and tensors of an index, as they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save

from vlascope.store import COLUMNS
from vlascope.store.durable import write_atomically
from vlascope_sae.features.schema import (
    EPISODE_COLUMNS,
    EPISODES,
    FEATURE_COLUMNS,
    FEATURES,
    MOMENT_COLUMNS,
    MOMENTS,
    PROFILES,
)

if TYPE_CHECKING:
    from vlascope_sae.features.indexing import Gathering

__all__ = ["write_tables"]


def write_tables(folder: Path, gathered: Gathering) -> None:
    """Everything but the traces, which are there already, and the manifest, which comes last."""
    _write(folder / FEATURES, _features(gathered))
    _write(folder / MOMENTS, _moments(gathered))
    _write(folder / EPISODES, _episodes(gathered))
    tasks = [profile.tensors("task") for profile in gathered.tasks.values()]
    tensors = {name: torch.cat([t[name] for t in tasks]) for name in tasks[0]}
    tensors |= gathered.phases.tensors("phase")
    tensors["histogram"] = gathered.histogram.counts
    write_atomically(folder / PROFILES, save(tensors))


def _features(gathered: Gathering) -> pa.Table:
    fired = gathered.phases.fired.sum(0).numpy()
    total = gathered.phases.total.sum(0).numpy()
    temporal = gathered.tally.result()
    columns = {
        "feature": np.arange(gathered.features),
        "fired": fired,
        "firing_rate": fired / gathered.rows,
        "max": gathered.phases.largest.amax(0).numpy(),
        "mean_on": total / np.maximum(fired, 1),
        "episodes_fired": gathered.tally.fired.numpy(),
        "episodes_on": gathered.tally.on.numpy(),
        **temporal._asdict(),
    }
    return pa.table(columns, schema=FEATURE_COLUMNS)


def _moments(gathered: Gathering) -> pa.Table:
    values, where = gathered.top.result()
    feature, rank = (values > 0).nonzero(as_tuple=True)
    chosen = where[feature, rank].numpy()
    column = {name: chosen[:, i] for i, name in enumerate(COLUMNS)}
    episodes = np.array([name for name, _, _ in gathered.episodes], dtype=object)
    spans = np.array([*gathered.spans, None], dtype=object)
    return pa.table(
        {
            "feature": feature.numpy(),
            "rank": rank.numpy(),
            "value": values[feature, rank].numpy(),
            **{name: column[name] for name in ("step", "chunk", "call", "token")},
            "episode": episodes[column["episode"]],
            "span": spans[column["span"]],
        },
        schema=MOMENT_COLUMNS,
    )


def _episodes(gathered: Gathering) -> pa.Table:
    rows = [
        {
            "episode": name,
            "task": str(labels.get("task") or ""),
            "instants": instants,
            "labels": json.dumps(labels, sort_keys=True),
        }
        for name, instants, labels in gathered.episodes
    ]
    return pa.Table.from_pylist(rows, schema=EPISODE_COLUMNS)


def _write(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomically(path, sink.getvalue().to_pybytes())
