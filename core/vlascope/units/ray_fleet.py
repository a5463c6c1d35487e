"""Ray actors that play units: each holds a policy and its environments; who is free takes the next.

Ray is imported where a fleet is opened, and nowhere else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from vlascope.errors import CapabilityMissing, EnvironmentFailed
from vlascope.rollout.spec import BenchmarkSpec
from vlascope.units.unit import PlayedUnit, Unit

if TYPE_CHECKING:
    from vlascope.units.player import Assignment

__all__ = ["FleetOptions", "RayFleet", "Seat", "ray_session"]

LOSSES: Final = 3
"""How often one unit may take its worker down before the run is given up."""
_PATIENCE: Final = 5.0
_GOODBYE: Final = 10.0


@dataclass(frozen=True)
class FleetOptions:
    """Which resources a fleet takes.

    Attributes:
        actors: how many, one policy each.
        address: of a running cluster (`auto`, `ray://...`); None starts one on this machine.
        cpus, gpus: of each actor, fractions allowed.
    """

    actors: int = 2
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class Seat:
    """What an actor needs to open its policy and environments.

    Attributes:
        load: keyword arguments of `vlascope.loading.load`.
        workers: environment processes; `envs_per_worker` in each.
        threads: torch threads; as many as the driver's where bits must agree.
        paths: the driver's import path.
        folder: the driver's working directory, for relative paths.
    """

    load: Mapping[str, Any]
    benchmark: BenchmarkSpec
    workers: int
    envs_per_worker: int
    threads: int
    paths: tuple[str, ...] = field(default_factory=lambda: tuple(p for p in sys.path if p))
    folder: str = field(default_factory=os.getcwd)


class RayFleet:
    """Actors of one policy, kept over all arms.

    Args:
        seat: what each of them opens.
        options: how many, and where.
    """

    def __init__(self, seat: Seat, options: FleetOptions) -> None:
        self._ray = _started(options)
        self._seat, self._options = seat, options
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._all: list[Any] = []
        for _ in range(options.actors):
            self._hire()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def play(
        self, assignment: Assignment, units: Sequence[Unit]
    ) -> Generator[PlayedUnit, None, None]:
        """Every unit as it is finished; the unit of a worker that is lost is played again.

        Raises:
            EnvironmentFailed: one unit takes down worker after worker.
        """
        ray = self._ray
        queue, losses = deque(units), Counter[str]()
        shared = ray.put(assignment)
        flying: dict[Any, tuple[Any, Unit]] = {}
        try:
            while queue or flying:
                self._hand_out(queue, flying, shared)
                found = []
                for ref in self._settled([*flying]):
                    actor, unit = flying.pop(ref)
                    played = self._result(ref, actor)
                    if played is not None:
                        found.append(played)
                        continue
                    losses[unit.digest] += 1
                    if losses[unit.digest] >= LOSSES:
                        raise EnvironmentFailed(_lost(unit))
                    queue.appendleft(unit)
                self._hand_out(queue, flying, shared)  # nobody waits while these are committed
                yield from found
        finally:
            for actor, _ in flying.values():
                self._dismiss(actor)

    def close(self) -> None:
        """Let every actor close its environments, then end it."""
        farewells = [actor.close.remote() for actor in self._all]
        with contextlib.suppress(Exception):
            self._ray.wait(farewells, num_returns=len(farewells), timeout=_GOODBYE)
        for actor in self._all:
            with contextlib.suppress(Exception):
                self._ray.kill(actor)
        self._all, self._idle, self._starting = [], [], {}

    def _hand_out(
        self, queue: deque[Unit], flying: dict[Any, tuple[Any, Unit]], assignment: Any
    ) -> None:
        """Give every idle actor the next unit."""
        while queue and self._idle:
            actor, unit = self._idle.pop(), queue.popleft()
            flying[actor.play.remote(assignment, unit)] = (actor, unit)

    def _settled(self, flying: list[Any]) -> list[Any]:
        """Plays that are over, whatever came of them; actors that came up become idle."""
        waiting = [*self._starting, *flying]
        done, _ = self._ray.wait(waiting, num_returns=1, timeout=_PATIENCE)
        over = []
        for ref in done:
            if ref not in self._starting:
                over.append(ref)
                continue
            self._result(ref, self._starting.pop(ref))
        return over

    def _result(self, ref: Any, actor: Any) -> Any | None:
        """What an actor answered, which is free now; None where it is lost and was replaced."""
        from ray.exceptions import (
            ObjectLostError,
            OutOfMemoryError,
            RayActorError,
            RayTaskError,
        )

        try:
            answer = self._ray.get(ref)
        except (RayActorError, ObjectLostError, OutOfMemoryError):
            self._dismiss(actor)
            return None
        except RayTaskError as error:
            self._idle.insert(0, actor)
            raise error.cause from error  # as if it had been raised here
        self._idle.insert(0, actor)
        return answer

    def _hire(self) -> None:
        from vlascope.units.ray_actor import UnitActor

        options = self._options
        remote = self._ray.remote(
            num_cpus=options.cpus,
            num_gpus=options.gpus,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )
        actor = remote(UnitActor).remote(self._seat)
        self._all.append(actor)
        self._starting[actor.ready.remote()] = actor

    def _dismiss(self, actor: Any) -> None:
        """End an actor that is dead or busy with what nobody waits for; another takes its place."""
        with contextlib.suppress(Exception):
            self._ray.kill(actor)
        self._all.remove(actor)
        self._hire()


@contextmanager
def ray_session() -> Iterator[None]:
    """End Ray afterwards, unless it was running before."""
    before = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    try:
        yield
    finally:
        if not before and "ray" in sys.modules:
            sys.modules["ray"].shutdown()


def _lost(unit: Unit) -> str:
    first, last = unit.episodes[0].plan.episode, unit.episodes[-1].plan.episode
    return (
        f"unit {unit.digest} ({first} to {last}) took down its worker {LOSSES} times; what other "
        "units finished is kept. Look for memory running out (`ray logs`, dmesg), or run these "
        "episodes with `--executor local` to see what they do"
    )


def _started(options: FleetOptions) -> Any:
    """Ray, connected to the cluster that was asked for.

    Raises:
        CapabilityMissing: it is not installed.
        EnvironmentFailed: no node has what one actor asks for.
    """
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise CapabilityMissing(
            "the ray executor needs Ray: pip install 'vlascope[ray]'"
        ) from error
    if not ray.is_initialized():
        own = options.address is None
        cpus = max(os.cpu_count() or 1, -(-options.actors * options.cpus // 1))
        ray.init(
            address=options.address,
            num_cpus=int(cpus) if own else None,
            include_dashboard=False if own else None,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    there = ray.cluster_resources()
    for what, wanted in (("CPU", options.cpus), ("GPU", options.gpus)):
        if there.get(what, 0.0) < wanted:
            raise EnvironmentFailed(
                f"the Ray cluster has {there.get(what, 0.0):g} {what}, one actor asks for "
                f"{wanted:g}: lower `{what.lower()}s` of the study's executor, or connect to a "
                "larger cluster (`address`)"
            )
    return ray


def enter(seat: Seat) -> None:
    """Make this process see what the driver saw: import path and working directory."""
    from vlascope import plugins

    known = set(sys.path)
    sys.path.extend(p for p in seat.paths if p not in known and Path(p).exists())
    if Path(seat.folder).exists():
        os.chdir(seat.folder)
    plugins.reload()
