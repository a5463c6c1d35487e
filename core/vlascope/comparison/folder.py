"""The directory of a comparison: its file as it was read, and a folder per entry."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vlascope.comparison.schema import ComparisonFile
from vlascope.errors import CorruptFile, FileMissing
from vlascope.store.durable import write_atomically

__all__ = ["keep_file", "read_file"]

MANIFEST = "comparison_file.json"


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.comparison_file/1"] = "vlascope.comparison_file/1"
    file: ComparisonFile


def keep_file(folder: Path, file: ComparisonFile) -> None:
    """Write the file down in a comparison's directory, which is made where it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MANIFEST, _Kept(file=file).model_dump_json(indent=1).encode())


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
