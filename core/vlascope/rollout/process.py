"""One worker process seen from the loop: started, asked, timed, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from vlascope.rollout.messages import Failed, Ready, Reply, Request, Setup

__all__ = ["WorkerProcess"]

_CODE = "from vlascope.rollout.worker import main; main({fd}, {parent})"
_TAIL = 2000


class WorkerProcess:
    """Requests are answered in the order asked; the first unanswered one is what it works on."""

    def __init__(self, setup: Setup, slots: Sequence[int], log: Path) -> None:
        self.slots = tuple(slots)
        self.ready = False
        self.waiting: deque[int] = deque()
        self._since = time.monotonic()
        self._log = log
        ours, theirs = socket.socketpair()
        with theirs, log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE.format(fd=theirs.fileno(), parent=os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(),
            )
        self.connection = Connection(ours.detach())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(setup)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, request: Request) -> None:
        """Queue a request; a broken pipe shows up when the answer is read."""
        if not self.waiting:
            self._since = time.monotonic()
        self.waiting.append(request.slot)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(request)

    def read(self) -> Reply | None:
        """The next answer; None where the process is gone."""
        try:
            reply: Reply = self.connection.recv()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return None
        self._since = time.monotonic()
        if isinstance(reply, Ready) or (isinstance(reply, Failed) and reply.slot is None):
            self.ready = isinstance(reply, Ready)
        else:
            self.waiting.popleft()
        return reply

    def busy_for(self) -> float:
        """Seconds spent on the request it works on, or on starting; 0 where it is idle."""
        return time.monotonic() - self._since if self.waiting or not self.ready else 0.0

    def how_it_died(self) -> str:
        """Exit status and the last lines it printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        code = self._process.poll()
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"exited with status {code}"
        text = self._log.read_bytes()[-_TAIL:].decode(errors="replace").strip()
        return f"its process {how}" + (f"; it last printed:\n{text}" if text else "")

    def kill(self) -> None:
        """End it now."""
        self.connection.close()
        self._process.kill()
        self._process.wait()

    def close(self, patience: float = 5.0) -> None:
        """Let it close its environments, then end it."""
        self.connection.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()


def _environment() -> dict[str, str]:
    """This process's import path, and one computing thread unless the user says otherwise."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**threads, **os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
