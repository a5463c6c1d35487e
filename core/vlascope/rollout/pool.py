"""All environments of a run: asked by slot, restarted when their process crashes or hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Self

from vlascope.benchmark import BenchmarkInfo
from vlascope.errors import EnvironmentFailed
from vlascope.rollout.messages import Failed, Finished, Observed, Ready, Request, Setup
from vlascope.rollout.process import WorkerProcess

__all__ = ["EnvPool", "Event", "Lost"]


@dataclass(frozen=True)
class Lost:
    """The slot's episode went down with another's environment and can be played again."""

    slot: int


_STARTS = 3
"""Failed starts in a row after which a run gives up."""

Event = Observed | Finished | Failed | Lost


class EnvPool:
    """`workers` processes with `per_worker` environments each, numbered by slot.

    Args:
        setup: the benchmark.
        workers: processes.
        per_worker: environments in each, stepped one at a time.
        timeout: seconds one request may take.
        start_timeout: seconds a worker may take to build its benchmark.
        logs: folder for what the workers print.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        workers: int,
        per_worker: int,
        timeout: float,
        start_timeout: float,
        logs: Path,
    ) -> None:
        self._setup = setup
        self._timeout, self._start_timeout = timeout, start_timeout
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        for old in logs.glob("worker-*.log"):
            old.unlink()
        slots = [range(w * per_worker, (w + 1) * per_worker) for w in range(workers)]
        self._workers = [self._start(i, list(s)) for i, s in enumerate(slots)]
        self._first: BenchmarkInfo | None = None
        self._failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            if kind is None:
                worker.close()
            else:
                worker.kill()

    @property
    def info(self) -> BenchmarkInfo:
        """What the benchmark says of itself; waits for the first worker.

        Raises:
            EnvironmentFailed: it cannot be built; the reason is the benchmark's own.
        """
        while self._first is None:
            list(self.events(1.0))
        return self._first

    @property
    def pids(self) -> list[int]:
        """Process ids, by worker."""
        return [w.pid for w in self._workers]

    @property
    def slots(self) -> int:
        """Environments in all."""
        return sum(len(w.slots) for w in self._workers)

    @contextmanager
    def lent(self, setup: Setup) -> Iterator[Self]:
        """Let a run use these environments and leave them ready for the next.

        Raises:
            ValueError: the run wants another benchmark.
        """
        if setup != self._setup:
            raise ValueError(f"these environments are of {self._setup}, the run wants {setup}")
        try:
            yield self
        finally:
            self.settle()

    def free(self) -> Iterator[int]:
        """Slots of workers that are up (the caller knows which of them play)."""
        for worker in self._workers:
            if worker.ready:
                yield from worker.slots

    def ask(self, request: Request) -> None:
        """Send a request to the worker that holds its slot."""
        self._of(request.slot).ask(request)

    def events(self, patience: float) -> Iterator[Event]:
        """What happened, waiting at most `patience` seconds for the first of it."""
        deadline = time.monotonic() + patience
        by_connection = {w.connection: w for w in self._workers}
        soon = min([deadline - time.monotonic(), *(self._left(w) for w in self._workers)])
        for connection in wait(list(by_connection), max(0.0, soon)):
            worker = by_connection[connection]  # type: ignore[index]
            yield from self._read(worker)
        for worker in self._workers:
            if self._left(worker) <= 0.0 and not worker.connection.poll():
                limit = self._timeout if worker.ready else self._start_timeout
                yield from self._replace(worker, f"it did not answer within {limit:g} s")

    def settle(self) -> None:
        """Restart every worker that still owes an answer, so that the next run starts clean."""
        for i, worker in enumerate(self._workers):
            if worker.waiting:
                worker.kill()
                self._workers[i] = self._start(i, list(worker.slots))

    def _read(self, worker: WorkerProcess) -> Iterator[Event]:
        while worker.connection.poll():
            reply = worker.read()
            if reply is None:
                yield from self._replace(worker, worker.how_it_died())
                return
            if isinstance(reply, Ready):
                self._first = self._first or reply.info
                self._failed_starts = 0
            elif isinstance(reply, Failed) and reply.slot is None:
                raise EnvironmentFailed(
                    f"benchmark {self._setup.benchmark!r} with options "
                    f"{dict(self._setup.options)} could not be built: {reply.reason}"
                )
            else:
                yield reply

    def _replace(self, worker: WorkerProcess, reason: str) -> Iterator[Event]:
        """Start a new process; blame the episode it was working on, if any."""
        was_ready, blamed = worker.ready, worker.waiting[0] if worker.waiting else None
        worker.kill()
        self._failed_starts += not was_ready
        if self._failed_starts == _STARTS:
            raise EnvironmentFailed(
                f"a worker of benchmark {self._setup.benchmark!r} could not start: {reason}"
            )
        index = self._workers.index(worker)
        self._workers[index] = self._start(index, list(worker.slots))
        if blamed is not None:
            yield Failed(blamed, f"the environment stopped: {reason}")
        yield from (Lost(slot) for slot in worker.slots if slot != blamed)

    def _left(self, worker: WorkerProcess) -> float:
        """Seconds until the worker counts as hung."""
        if worker.ready and not worker.waiting:
            return float("inf")
        limit = self._timeout if worker.ready else self._start_timeout
        return limit - worker.busy_for()

    def _start(self, index: int, slots: list[int]) -> WorkerProcess:
        return WorkerProcess(self._setup, slots, self._logs / f"worker-{index}.log")

    def _of(self, slot: int) -> WorkerProcess:
        return next(w for w in self._workers if slot in w.slots)
