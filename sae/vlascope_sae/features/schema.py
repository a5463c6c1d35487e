"""What a feature index says of itself, and where its parts lie."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from vlascope import __version__
from vlascope.store import Provenance
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.features.blocks import Pool

__all__ = [
    "ABOUT",
    "EPISODES",
    "FEATURES",
    "MOMENTS",
    "PHASES",
    "PROFILES",
    "SCHEMA",
    "IndexManifest",
    "fingerprint",
    "trace_file",
]

SCHEMA: Final = "vlascope.features/1"
ABOUT: Final = "index.json"
FEATURES: Final = "features.parquet"
MOMENTS: Final = "moments.parquet"
EPISODES: Final = "episodes.parquet"
PROFILES: Final = "profiles.safetensors"
PHASES: Final = ("first third", "middle third", "last third")


class IndexManifest(BaseModel):
    """One feature index: which autoencoder saw which activations, and how much there was.

    Attributes:
        sae: the autoencoder's configuration; `sae_hash` is of that and its weights; `sae_path`
            says where it lay, empty where it came from memory.
        point: the hook point; `store` says where its activations lay.
        provenance: of the activations.
        where: which of the store's rows were read (`vlascope.store.Where`).
        pool: whether a row is a token or a whole moment.
        rows: (tokens, or moments where pooled); `instants` are (episode, step, chunk).
        top_k: moments kept per feature.
        threshold: above which a feature is on.
        tasks: names, in the order of the task profiles; "" where episodes had no task.
        density: how many features fire how often: `edges` are log10 of the firing rate, `counts`
            one fewer; features that never fire are in `dead`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.features/1"] = SCHEMA
    code_version: str = __version__
    sae: dict[str, Any]
    sae_hash: str
    sae_path: str = ""
    point: str
    store: str
    provenance: Provenance
    where: dict[str, Any] = Field(default_factory=dict)
    pool: Pool
    features: int
    rows: int
    moments: int
    instants: int
    episodes: int
    top_k: int
    threshold: float
    tasks: tuple[str, ...]
    dead: int
    density: dict[str, list[float]]


def fingerprint(sae: SparseAutoencoder) -> str:
    """sha256 of an autoencoder's configuration and weights."""
    digest = hashlib.sha256(sae.config.model_dump_json().encode())
    for name, tensor in sorted(sae.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def trace_file(episode: int) -> str:
    """Where the trace of the episode of that number lies."""
    return f"traces/{episode:06d}.safetensors"


FEATURE_COLUMNS = pa.schema(
    [
        ("feature", pa.int32()),
        ("fired", pa.int64()),
        ("firing_rate", pa.float64()),
        ("max", pa.float32()),
        ("mean_on", pa.float64()),
        ("episodes_fired", pa.int64()),
        ("episodes_on", pa.int64()),
        ("coverage", pa.float64()),
        ("onsets", pa.float64()),
        ("magnitude", pa.float64()),
        ("run_length", pa.float64()),
    ]
)

MOMENT_COLUMNS = pa.schema(
    [
        ("feature", pa.int32()),
        ("rank", pa.int32()),
        ("value", pa.float32()),
        ("episode", pa.string()),
        ("step", pa.int32()),
        ("chunk", pa.int32()),
        ("call", pa.int32()),
        ("token", pa.int32()),
        ("span", pa.string()),
    ]
)

EPISODE_COLUMNS = pa.schema(
    [
        ("episode", pa.string()),
        ("task", pa.string()),
        ("instants", pa.int32()),
        ("labels", pa.string()),
    ]
)
