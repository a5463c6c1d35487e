"""The list of finished episodes: one JSON line each, and the line is the commit point."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from vlascope.errors import CorruptFile, FileMissing
from vlascope.records import EpisodeRecord
from vlascope.store.durable import append_line, cut_torn_line

__all__ = ["EPISODES", "Ledger", "read_episodes"]

EPISODES = "episodes.jsonl"
_log = logging.getLogger(__name__)


def read_episodes(run_dir: str | Path) -> list[EpisodeRecord]:
    """The finished episodes of a run, in the order they were first finished.

    One record per (episode, policy, benchmark): the latest, where an episode was played again
    because its first try failed or because its plan's context changed. A torn last line (an
    interrupted write) is not an episode and is left out.

    Raises:
        FileMissing: there is no such run.
        CorruptFile: a line is not an episode record; says which and what to do.
    """
    path = Path(run_dir) / EPISODES
    if not path.exists():
        raise FileMissing(f"{run_dir} holds no {EPISODES}: no episode was finished there")
    latest: dict[tuple[str, str, str], EpisodeRecord] = {}
    for record in _read(path):
        key = (record.plan.episode, record.policy.checkpoint_hash, record.benchmark)
        before = latest.get(key)
        if before is None or before.status == "error" or before.digest != record.digest:
            latest[key] = record
    return list(latest.values())


class Ledger:
    """The episodes of one run directory, open for appending; hold the directory's lock."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / EPISODES
        torn = cut_torn_line(self.path)
        if torn:
            _log.warning(
                "%s ended in %d bytes of an interrupted write; cut, that episode is played again",
                self.path,
                torn,
            )
        self._by_digest: dict[str, EpisodeRecord] = {}
        self._by_content: dict[str, EpisodeRecord] = {}
        for record in _read(self.path) if self.path.exists() else ():
            self._keep(record)

    def finished(self, digest: str) -> EpisodeRecord | None:
        """The record of that digest, if its environment did not fail."""
        record = self._by_digest.get(digest)
        return record if record is not None and record.status == "ok" else None

    def get(self, digest: str) -> EpisodeRecord | None:
        """The record of that digest, an error too."""
        return self._by_digest.get(digest)

    def alike(self, content: str) -> EpisodeRecord | None:
        """A finished episode of that content, whatever its arm is called."""
        return self._by_content.get(content)

    def append(self, record: EpisodeRecord) -> None:
        """Commit one episode."""
        append_line(self.path, record.model_dump_json())
        self._keep(record)

    def _keep(self, record: EpisodeRecord) -> None:
        if record.status == "ok" and record.content:
            self._by_content.setdefault(record.content, record)
        if self.finished(record.digest) is None:
            self._by_digest[record.digest] = record


def _read(path: Path) -> Iterable[EpisodeRecord]:
    lines = path.read_bytes().split(b"\n")
    if lines.pop():
        _log.warning("%s ends in a torn line, which is no episode", path)
    for number, line in enumerate(lines, 1):
        try:
            yield EpisodeRecord.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(p) for p in first["loc"]) or "the line"
            raise CorruptFile(
                f"{path}, line {number} is no vlascope.episode/1 record ({where}: {first['msg']}); "
                "delete that line and run again (its episode is then played again), or use the "
                "vlascope version that wrote it"
            ) from error
