"""The directory of a comparison: its file as it was read, and a folder per entry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vlascope.comparison.schema import ComparisonFile
from vlascope.errors import CorruptFile, FileMissing, StudyFileError
from vlascope.store.durable import write_atomically
from vlascope.study.run_directory import WITHOUT_EFFECT, changes

__all__ = ["keep_file", "read_file", "refuse_other_file"]

MANIFEST = "comparison_file.json"


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.comparison_file/1"] = "vlascope.comparison_file/1"
    file: ComparisonFile


def keep_file(folder: Path, file: ComparisonFile) -> None:
    """Write the file down in a comparison's directory, which is made where it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MANIFEST, _Kept(file=file).model_dump_json(indent=1).encode())


def refuse_other_file(folder: Path, file: ComparisonFile, playing: Sequence[str]) -> None:
    """Check that a directory is this comparison's, or nobody's yet.

    Entries may be added or taken out. Those that are played now are held against their own
    studies; the others must be asked what they were asked before.

    Raises:
        StudyFileError: it belongs to another comparison, or an entry that is not played now
            would be asked something else.
    """
    if not (folder / MANIFEST).exists():
        return
    before = read_file(folder)
    changed = list(changes({"name": before.name}, {"name": file.name}))
    for name in before.entries:
        if name in file.entries and name not in playing and (folder / name).exists():
            found = changes(_essence(before, name), _essence(file, name))
            changed += [f"entries.{name}.{change}" for change in found]
    if changed:
        shown = "\n  ".join(changed[:12]) + ("\n  ..." if len(changed) > 12 else "")
        raise StudyFileError(
            f"{folder} holds another version of this comparison:\n  {shown}\n"
            "run into a new directory (--out), or undo the change, or delete the directory"
        )


def read_file(folder: Path) -> ComparisonFile:
    """The file that a comparison's directory belongs to.

    Raises:
        FileMissing: no comparison was run there.
        CorruptFile: the file is truncated or of another version.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise FileMissing(f"{folder} holds no {MANIFEST}: no comparison was run there")
    try:
        return _Kept.model_validate_json(path.read_bytes()).file
    except ValidationError as error:
        first = error.errors()[0]
        raise CorruptFile(
            f"{path} is no vlascope.comparison_file/1 file ({'.'.join(map(str, first['loc']))}: "
            f"{first['msg']}); run the comparison into a new directory"
        ) from error


def _essence(file: ComparisonFile, name: str) -> dict[str, Any]:
    """Everything that an entry's episodes depend on."""
    entry = file.entries[name]
    given = {**file.defaults.given(), **entry.given()}
    plain = type(file.defaults)(**given).model_dump(mode="json", exclude=set(WITHOUT_EFFECT))
    battery = {q: {**file.battery[q], **(entry.battery.get(q) or {})} for q in file.battery}
    left_out = [q for q, own in entry.battery.items() if own is None]
    policy = entry.policy.model_dump(mode="json")
    return {"policy": policy, **plain, "battery": battery, "left out": left_out}
