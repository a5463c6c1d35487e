"""Writes that survive a crash: a file is there whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vlascope.errors import DiskFull

__all__ = ["append_line", "cut_torn_line", "sweep_temporary", "write_atomically"]

_SUFFIX = ".partial"
_FULL = (errno.ENOSPC, errno.EDQUOT)

Bytes = bytes | bytearray | memoryview


def write_atomically(path: Path, parts: Bytes | Iterable[Bytes]) -> None:
    """Write beside `path`, sync, rename over it, sync the folder.

    Raises:
        DiskFull: there is no space; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_SUFFIX}")
    with _no_space(path):
        try:
            with temporary.open("wb") as file:
                whole = isinstance(parts, bytes | bytearray | memoryview)
                for part in [parts] if whole else parts:
                    file.write(part)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def append_line(path: Path, line: str) -> None:
    """Append one line and sync; a reader sees all of it or, after a crash, a torn last line.

    Raises:
        DiskFull: there is no space; the file is cut back to where it was.
    """
    is_new = not path.exists()
    raw = line.encode() + b"\n"
    with _no_space(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            before = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, raw)
                os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            _sync_folder(path.parent)


def cut_torn_line(path: Path) -> int:
    """Cut what follows the last newline, if anything; how many bytes that was."""
    if not path.exists():
        return 0
    raw = path.read_bytes()
    keep = raw.rfind(b"\n") + 1
    if keep < len(raw):
        with path.open("r+b") as file:
            file.truncate(keep)
            os.fsync(file.fileno())
    return len(raw) - keep


def sweep_temporary(folder: Path) -> None:
    """Remove what interrupted writes left behind; only while nobody else writes there."""
    for left in folder.glob(f".*{_SUFFIX}"):
        left.unlink(missing_ok=True)


def _write_all(descriptor: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where folders can be synced."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _no_space(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            error.errno,
            "no space left on the device: what was finished before is intact; free some space "
            "and run the same command again to go on from there",
            str(path),
        ) from error
