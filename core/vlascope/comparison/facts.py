"""What an entry's policy is and what it played, as a table's column has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlascope.errors import CorruptFile
from vlascope.store.durable import write_atomically

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter

__all__ = [
    "EntryFacts",
    "EntryRecord",
    "PathwayFacts",
    "PlayFacts",
    "PolicyFacts",
    "facts_of",
    "keep_record",
    "read_record",
]

RECORD = "entry.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PathwayFacts(_Frozen):
    """A stack of blocks.

    Attributes:
        n_layers, width, ffn_width, calls_per_chunk: as its adapter declares them.
        parameters: of the modules that hold its hook points; None where none are its own.
        dead: its hook points whose value cannot reach the action.
    """

    name: str
    n_layers: int
    width: int
    ffn_width: int = 0
    calls_per_chunk: int | None = 1
    parameters: int | None = None
    dead: tuple[str, ...] = ()


class PolicyFacts(_Frozen):
    """A loaded policy.

    Attributes:
        checkpoint: where the weights came from; `checkpoint_hash` is the sha256 of what was loaded.
        network: the class of the network.
        parameters: scalars of the whole model, shared ones once.
        horizon: actions per chunk, `executed_steps` of them executed before the next inference.
    """

    adapter: str
    checkpoint: str
    checkpoint_hash: str
    network: str
    parameters: int
    pathways: tuple[PathwayFacts, ...]
    horizon: int
    executed_steps: int


class PlayFacts(_Frozen):
    """What was played.

    Attributes:
        arms: that have a place in the policy, controls counted and recordings not.
        planned: their episodes, recordings included, without those that stopped arms were spared;
            `finished` of them without an environment's error, `errors` with one.
        tries: lines of the log: how often an episode was begun and ended, over all runs.
        seconds: wall time of the tries, summed; episodes of a batch overlap.
        work_seconds: the part of it that was spent on physics, pictures, the policy and writing,
            shared out among the episodes of a batch.
    """

    benchmark: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    max_steps: int | None
    arms: int
    planned: int
    finished: int
    errors: int
    tries: int
    seconds: float
    work_seconds: float


class EntryFacts(_Frozen):
    """Facts of one column."""

    policy: PolicyFacts
    play: PlayFacts


class EntryRecord(_Frozen):
    """What `OUT/ENTRY/entry.json` holds: what was known before anything was played.

    Attributes:
        facts: None where the policy could not be loaded.
        not_applicable: why a question is not asked, by question.
        error: why the entry failed as a whole; empty where it did not.
    """

    schema_version: Literal["vlascope.entry/1"] = "vlascope.entry/1"
    facts: PolicyFacts | None = None
    not_applicable: dict[str, str] = Field(default_factory=dict)
    error: str = ""


def facts_of(adapter: VLAAdapter) -> PolicyFacts:
    """Of a loaded policy."""
    from vlascope.anatomy import count_parameters

    info = adapter.info
    shares = count_parameters(
        adapter.model, {**adapter.hook_points(), **adapter.attention_points()}
    )
    dead = sorted(adapter.dead_points())
    return PolicyFacts(
        adapter=info.name,
        checkpoint=info.checkpoint,
        checkpoint_hash=info.checkpoint_hash,
        network=type(adapter.model).__name__,
        parameters=shares.total,
        pathways=tuple(
            PathwayFacts(
                name=p.name,
                n_layers=p.n_layers,
                width=p.width,
                ffn_width=p.ffn_width,
                calls_per_chunk=p.calls_per_chunk,
                parameters=shares.pathways[p.name].number if p.name in shares.pathways else None,
                dead=tuple(str(point) for point in dead if point.pathway == p.name),
            )
            for p in info.pathways
        ),
        horizon=info.horizon,
        executed_steps=info.executed_steps,
    )


def keep_record(folder: Path, record: EntryRecord) -> None:
    """Write an entry's record into its folder, which is made where it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RECORD, record.model_dump_json(indent=1).encode())


def read_record(folder: Path) -> EntryRecord | None:
    """An entry's record; None where it was never begun.

    Raises:
        CorruptFile: it is truncated or of another version.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        return EntryRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CorruptFile(
            f"{path} is no vlascope.entry/1 file: {error}; delete it and run again"
        ) from error
