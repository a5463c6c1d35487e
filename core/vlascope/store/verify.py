"""Checking every unit of a store, and setting broken ones aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vlascope.errors import CorruptFile
from vlascope.store.shard import Shard
from vlascope.store.store import UNITS, ActivationStore

__all__ = ["Broken", "verify_store"]


@dataclass(frozen=True)
class Broken:
    """A unit that cannot be read, why, and where it was moved (None where it was left)."""

    path: Path
    reason: str
    moved_to: Path | None


def verify_store(path: str | Path, *, drop_broken: bool = False) -> Iterator[Broken]:
    """Read every unit whole and compare it with its checksums.

    Args:
        path: the store.
        drop_broken: rename each broken unit to `NAME.broken`, so that the rest can be read and
            the next run records it again.

    Yields:
        Every broken unit.

    Raises:
        FileMissing: there is no store.
    """
    store = ActivationStore.open(path)
    seen: dict[str, Path] = {}
    for file in sorted((store.path / UNITS).glob("*.safetensors")):
        reason = _trouble(file, store, seen)
        if reason is not None:
            aside = file.with_name(file.name + ".broken") if drop_broken else None
            if aside is not None:
                file.rename(aside)
            yield Broken(file, reason, aside)


def _trouble(file: Path, store: ActivationStore, seen: dict[str, Path]) -> str | None:
    try:
        shard = Shard(file)
        shard.verify()
    except CorruptFile as error:
        return str(error)
    if store.provenance.differences(shard.manifest.provenance):
        return f"{file} was recorded from another policy or with another spec than the store"
    for episode in shard.manifest.episodes:
        if seen.setdefault(episode, file) != file:
            return f"{file} holds episode {episode!r}, which {seen[episode]} holds too"
    return None
