"""Which units a store holds, kept in step with the directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vlascope.errors import CorruptFile
from vlascope.store.schema import UnitManifest
from vlascope.store.shard import read_manifest

__all__ = ["Catalogue"]


class Catalogue:
    """Manifests by file and files by episode; read again when the directory changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manifests: dict[str, UnitManifest] = {}
        self._stamps: dict[str, tuple[int, int]] = {}
        self._files: dict[str, str] = {}
        self._seen: int | None = None

    def manifests(self) -> Mapping[str, UnitManifest]:
        """By file name, in order.

        Raises:
            CorruptFile: a file is no whole unit, or two units hold one episode.
        """
        self._refresh()
        return self._manifests

    def file_of(self, episode: str) -> str | None:
        """The file that holds an episode, if any."""
        if episode not in self._files:
            self._refresh()
        return self._files.get(episode)

    def add(self, name: str) -> None:
        """Take note of a file just written."""
        self._read(name)
        self._order()

    def _refresh(self) -> None:
        if not self._folder.exists():
            return
        changed = self._folder.stat().st_mtime_ns
        if changed == self._seen:
            return
        present = {p.name for p in self._folder.glob("*.safetensors") if p.name[0] != "."}
        for gone in self._manifests.keys() - present:
            self._forget(gone)
        for name in sorted(present):
            if self._stamps.get(name) != _stamp(self._folder / name):
                self._read(name)
        self._order()
        self._seen = changed

    def _read(self, name: str) -> None:
        stamp = _stamp(self._folder / name)
        manifest = read_manifest(self._folder / name)
        self._forget(name)
        for episode in manifest.episodes:
            other = self._files.setdefault(episode, name)
            if other != name:
                raise CorruptFile(
                    f"{self._folder}: episode {episode!r} is in {other} and in {name}; delete one"
                )
        self._manifests[name], self._stamps[name] = manifest, stamp

    def _forget(self, name: str) -> None:
        self._stamps.pop(name, None)
        old = self._manifests.pop(name, None)
        for episode in old.episodes if old is not None else ():
            self._files.pop(episode, None)

    def _order(self) -> None:
        self._manifests = dict(sorted(self._manifests.items()))


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
