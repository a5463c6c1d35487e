"""One writer per run directory."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlascope.errors import RunLocked

__all__ = ["exclusive"]

_NAME = ".lock"


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it when this process dies, however it dies.

    Raises:
        RunLocked: another live process holds it; the message says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _NAME
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunLocked(
                f"{folder} is being written by {_holder(path)}; wait for it, stop it, or give "
                "this run another directory"
            ) from error
        file.truncate(0)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        file.write(json.dumps(holder))
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        held = json.loads(path.read_text())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(held["since"]))
        return f"process {held['pid']} on {held['host']} (since {since})"
    except (OSError, ValueError, KeyError):
        return "another process"
