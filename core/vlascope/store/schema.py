"""What a stored unit says of itself, and how its rows are addressed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from vlascope import __version__
from vlascope.adapter import VLAAdapter
from vlascope.recording import RecordSpec

__all__ = ["COLUMNS", "SCHEMA", "Labels", "PointEntry", "Provenance", "UnitManifest", "file_name"]

SCHEMA: Final = "vlascope.activations/1"

COLUMNS = ("episode", "step", "chunk", "call", "token", "span")
"""Integer columns of every row: episode and span are positions in the unit's lists of names
(-1 for a token that no span covers), token is the position in the policy's sequence."""

Labels = Mapping[str, str | int | float | bool | None]
"""What is known of an episode: `task`, `seed`, `success`, ..."""


class Provenance(BaseModel):
    """Where activations come from; one store holds one kind (see `differences`).

    Attributes:
        adapter, checkpoint, checkpoint_hash: the policy.
        spec: what was kept.
        benchmark: what was played, as text; empty where the observations came from elsewhere.
        code_version: of vlascope.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: str
    checkpoint: str
    checkpoint_hash: str
    spec: RecordSpec
    benchmark: str = ""
    code_version: str = __version__

    def differences(self, other: Provenance) -> dict[str, tuple[object, object]]:
        """What keeps two recordings out of one store, by name; empty where they fit together.

        Which hook points were kept, where the weights lay and vlascope's version may differ from
        unit to unit; the policy, the benchmark and what was kept of a point may not.
        """
        mine, theirs = (
            {
                "adapter": p.adapter,
                "checkpoint_hash": p.checkpoint_hash,
                "benchmark": p.benchmark,
                **{f"spec.{k}": v for k, v in p.spec if k != "at"},
            }
            for p in (self, other)
        )
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}

    @classmethod
    def of(cls, adapter: VLAAdapter, spec: RecordSpec, *, benchmark: str = "") -> Provenance:
        """The provenance of what `adapter` computes."""
        info = adapter.info
        return cls(
            adapter=info.name,
            checkpoint=info.checkpoint,
            checkpoint_hash=info.checkpoint_hash,
            spec=spec,
            benchmark=benchmark,
        )


class PointEntry(BaseModel):
    """One hook point in a unit: its tensor's shape and dtype, and which columns are its rows'."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    width: int
    dtype: Literal["float16", "bfloat16", "float32"]
    columns: str


class UnitManifest(BaseModel):
    """What one file holds; the truth from which every index is rebuilt.

    Attributes:
        unit: the unit of work, usually an episode's name.
        episodes: what is known of each episode, by name; row columns count in this order.
        spans: token span names; row columns count in this order.
        points: by hook point.
        checksums: CRC-32 by tensor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.activations/1"] = SCHEMA
    unit: str
    provenance: Provenance
    episodes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    spans: tuple[str, ...] = ()
    points: dict[str, PointEntry]
    checksums: dict[str, int]


def file_name(unit: str) -> str:
    """A unit's file: readable, and different for different units."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", ".", unit)[:80].strip(".")
    return f"{readable}-{hashlib.sha256(unit.encode()).hexdigest()[:10]}.safetensors"
