"""Study files that plugins ship: `studies/NAME.yaml` beside what they register."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from vlascope import plugins
from vlascope.errors import StudyFileError, unknown_name

__all__ = ["find_study", "shipped_studies"]


def shipped_studies() -> Mapping[str, Path]:
    """Study files by name, from the packages of every registered adapter and benchmark."""
    found: dict[str, Path] = {}
    for entry in (*plugins.adapters().values(), *plugins.benchmarks().values()):
        package = entry.target.partition(":")[0].rpartition(".")[0]
        if not package:
            continue
        folder = Path(str(files(package))) / "studies"
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def find_study(name: str | Path) -> Path:
    """The file of that path, or the shipped study of that name.

    Raises:
        StudyFileError: there is neither.
    """
    path = Path(name)
    if path.is_file() or path.suffix:
        return path
    shipped = shipped_studies()
    if str(name) not in shipped:
        raise StudyFileError(
            f"there is no file {name}, and {unknown_name('shipped study', str(name), shipped)}"
        )
    return shipped[str(name)]
