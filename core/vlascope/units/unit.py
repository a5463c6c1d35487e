"""A unit of work: queued, played in one piece, committed, and where it is lost, played again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from vlascope.errors import VlascopeError
from vlascope.records import EpisodeRecord
from vlascope.rollout.flight import Planned
from vlascope.rollout.log import LogLine

__all__ = ["PlayedUnit", "Unit", "cut"]


@dataclass(frozen=True)
class Unit:
    """Episodes of one arm that are played in one piece.

    Attributes:
        episodes: with the digests the driver gave them.
    """

    episodes: tuple[Planned, ...]

    @property
    def digest(self) -> str:
        """A content hash, 16 hex: of policy, benchmark, tasks, seeds, arm and code version.

        All of these are in the episodes' own digests.
        """
        joined = "\n".join(planned.digest for planned in self.episodes)
        return hashlib.sha256(joined.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.episodes)


@dataclass(frozen=True)
class PlayedUnit:
    """What came of a unit, ready to be committed elsewhere.

    Attributes:
        unit: its digest.
        records: of the episodes that were finished, in the order they were.
        files: bytes by path relative to the run directory.
        activations: bytes of an activation unit's file, by episode.
        log: what each try took.
        failure: why it was given up before its end, or None.
    """

    unit: str
    records: tuple[EpisodeRecord, ...]
    files: dict[str, bytes]
    activations: dict[str, bytes]
    log: tuple[LogLine, ...]
    failure: VlascopeError | None = None


def cut(missing: Sequence[Planned], size: int, players: int) -> list[Unit]:
    """Units of at most `size` episodes, small enough that every player gets one.

    Args:
        missing: what is to be played, in the order it is begun.
        size: episodes in a unit at most.
        players: how many play at once.
    """
    size = max(1, min(size, -(-len(missing) // players)))
    return [Unit(tuple(missing[i : i + size])) for i in range(0, len(missing), size)]
