"""A worker process: environments of one benchmark, played as the loop asks; never imports torch.

Started as `python -c "...; main(FD)"`, with one end of a socket pair as file descriptor FD.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from vlascope.rollout.messages import Begin, Execute, Failed, Ready, Reply, Request, Setup
from vlascope.rollout.playing import Playing

if TYPE_CHECKING:
    from vlascope.benchmark import BenchmarkEnv

__all__ = ["Host", "main"]

_PR_SET_PDEATHSIG = 1


class Host:
    """The environments of one worker, by slot; a failed one is thrown away and built anew."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._envs: dict[int, BenchmarkEnv] = {}
        self._playing: dict[int, Playing] = {}
        self._spare: BenchmarkEnv | None = None

    def ready(self) -> Ready | Failed:
        """Build one environment, to be used by the first episode."""
        try:
            self._spare = self._build()
            return Ready(self._spare.info)
        except Exception as error:
            return Failed(None, _explained(error))

    def answer(self, request: Request) -> Reply:
        """Do what is asked; whatever the environment raises becomes a `Failed`."""
        try:
            if isinstance(request, Begin):
                return self._begin(request)
            return self._playing[request.slot].execute(request)
        except Exception as error:
            self._discard(request.slot)
            return Failed(request.slot, _explained(error))

    def close(self) -> None:
        """Close every environment."""
        for slot in list(self._envs):
            self._discard(slot)
        if self._spare is not None:
            self._spare.close()

    def _begin(self, request: Begin) -> Reply:
        self._playing[request.slot] = Playing(self._env(request.slot), request)
        return self._playing[request.slot].begin()

    def _env(self, slot: int) -> BenchmarkEnv:
        if slot not in self._envs:
            self._envs[slot] = self._spare or self._build()
            self._spare = None
        return self._envs[slot]

    def _build(self) -> BenchmarkEnv:
        from vlascope import plugins

        return plugins.benchmark_class(self._setup.benchmark)(**self._setup.options)

    def _discard(self, slot: int) -> None:
        self._playing.pop(slot, None)
        env = self._envs.pop(slot, None)
        if env is not None:
            with contextlib.suppress(Exception):
                env.close()


def main(descriptor: int, parent: int) -> None:
    """Serve requests until the loop closes the connection or its process is gone."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with(parent)
    with Connection(descriptor) as connection:
        host = None
        try:
            host = Host(connection.recv())
            connection.send(host.ready())
            while True:
                request = connection.recv()
                if not isinstance(request, Begin | Execute):
                    break
                connection.send(host.answer(request))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass
        finally:
            if host is not None:
                host.close()


def _die_with(parent: int) -> None:
    """Be killed when the parent dies, even inside a simulator that never returns."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def _explained(error: Exception) -> str:
    """The error in one line, then where it came from."""
    where = "".join(traceback.format_exception(error)).rstrip()
    return f"{type(error).__name__}: {error}\n{where}"
