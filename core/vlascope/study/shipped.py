"""Files that plugins ship: `FOLDER/NAME.yaml` in the packages of whatever they register."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from vlascope import plugins
from vlascope.errors import StudyFileError, unknown_name

__all__ = ["COMPARISONS", "STUDIES", "find_shipped", "shipped"]

STUDIES, COMPARISONS = "studies", "comparisons"
_ONE = {STUDIES: "study", COMPARISONS: "comparison"}


def shipped(folder: str) -> Mapping[str, Path]:
    """Files by name; of two plugins with one name the first registered counts."""
    found: dict[str, Path] = {}
    for entries in plugins.registry().values():
        packages = {e.target.partition(":")[0].rpartition(".")[0] for e in entries.values()}
        for package in sorted(packages):
            for place in _folders(package):
                for path in sorted((place / folder).glob("*.yaml")):
                    found.setdefault(path.stem, path)
    return found


def find_shipped(name: str | Path, folder: str) -> Path:
    """The file of that path, or the shipped one of that name.

    Raises:
        StudyFileError: there is neither; near matches are listed.
    """
    path = Path(name)
    if path.is_file() or path.suffix:
        return path
    known = shipped(folder)
    if str(name) not in known:
        near = unknown_name(f"shipped {_ONE[folder]}", str(name), known)
        raise StudyFileError(f"there is no file {name}, and {near}")
    return known[str(name)]


def _folders(package: str) -> Iterator[Path]:
    """Where a package lies, which is not imported for it; its parents are."""
    try:
        spec = find_spec(package) if package else None
    except ImportError:
        return
    yield from map(Path, (spec and spec.submodule_search_locations) or ())
