"""The asynchronous loop: whoever needs a chunk now makes up the next batch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from vlascope.adapter import VLAAdapter
from vlascope.errors import EnvironmentFailed
from vlascope.noise import generator_for
from vlascope.rollout.film import Film
from vlascope.rollout.flight import Flight, Planned
from vlascope.rollout.messages import Begin, Execute, Failed, Finished, Observed, Trace
from vlascope.rollout.pool import EnvPool, Event
from vlascope.rollout.sight import Perturb, perturbations_of
from vlascope.types import FloatArray

__all__ = ["Outcomes", "RolloutLoop"]

_PATIENCE = 0.5
"""Seconds to wait for an environment before looking for hung ones again."""


class Outcomes(Protocol):
    """What is done with what comes out."""

    def inferred(self, flights: list[Flight]) -> None:
        """A batch went through the policy."""

    def finished(self, flight: Flight, trace: Trace) -> None:
        """An episode is over."""

    def failed(self, flight: Flight, reason: str) -> None:
        """An environment failed under an episode."""

    def dropped(self, flight: Flight) -> None:
        """An episode lost its environment through no fault of its own and starts again later."""


class RolloutLoop:
    """Plays every planned episode once.

    Args:
        adapter: the policy.
        pool: the environments.
        planned: what to play, in this order.
        outcomes: told of everything that happens.
        max_batch: rows per inference at most; None for all that wait.
        film: which pictures to keep.
        perturb: what is done to the pictures of episodes whose plan does not say.
        max_failures: consecutive environment failures after which the run is given up.
    """

    def __init__(
        self,
        adapter: VLAAdapter,
        pool: EnvPool,
        planned: Iterable[Planned],
        outcomes: Outcomes,
        *,
        max_batch: int | None,
        film: Film | None,
        perturb: Perturb | None,
        max_failures: int,
    ) -> None:
        self._adapter, self._pool, self._outcomes = adapter, pool, outcomes
        self._queue = deque(planned)
        self._max_batch, self._max_failures = max_batch, max_failures
        self._film, self._perturb = film, perturb
        self._flights: dict[int, Flight] = {}
        self._waiting: deque[Flight] = deque()
        self._failures = 0

    def run(self) -> None:
        """Play until nothing is left.

        Raises:
            EnvironmentFailed: the environments fail for episode after episode.
        """
        while self._queue or self._flights:
            self._begin_where_free()
            for event in self._pool.events(0.0 if self._waiting else _PATIENCE):
                self._handle(event)
            self._infer()

    def _begin_where_free(self) -> None:
        for slot in self._pool.free():
            if not self._queue:
                return
            if slot not in self._flights:
                flight = Flight(self._queue.popleft(), slot)
                self._flights[slot] = flight
                self._pool.ask(self._beginning(flight))

    def _beginning(self, flight: Flight) -> Begin:
        plan, film = flight.planned.plan, self._film
        return Begin(
            slot=flight.slot,
            task=plan.task,
            seed=plan.seed,
            max_steps=plan.max_steps,
            stop_on_success=plan.stop_on_success,
            film=film if film is not None and film.wants(plan.task, plan.seed) else None,
            perturbations=perturbations_of(plan, self._perturb),
            read=frozenset(self._adapter.info.cameras),
        )

    def _handle(self, event: Event) -> None:
        flight = self._flights.get(event.slot) if event.slot is not None else None
        if flight is None:
            return
        if isinstance(event, Observed):
            flight.see(event.step, event.observation, event.sent)
            self._waiting.append(flight)
            return
        del self._flights[flight.slot]
        if flight in self._waiting:
            self._waiting.remove(flight)
        if isinstance(event, Finished):
            self._failures = 0
            self._outcomes.finished(flight, event.trace)
        elif isinstance(event, Failed):
            self._failed(flight, event.reason)
        else:
            self._outcomes.dropped(flight)
            self._queue.appendleft(flight.planned)

    def _failed(self, flight: Flight, reason: str) -> None:
        self._outcomes.failed(flight, reason)
        self._failures += 1
        if self._failures >= self._max_failures:
            raise EnvironmentFailed(
                f"the environment failed in {self._failures} episodes in a row; the last was "
                f"{flight.planned.plan.episode}: {reason}"
            )

    def _infer(self) -> None:
        """One batched inference, for as many as wait."""
        n = len(self._waiting) if self._max_batch is None else self._max_batch
        flights = [self._waiting.popleft() for _ in range(min(n, len(self._waiting)))]
        if not flights:
            return
        for flight in flights:
            flight.hand_over(self._adapter.info.cameras)
        started = time.perf_counter()
        chunk = self._adapter.infer(
            [f.observation for f in flights if f.observation is not None],
            generators=[generator_for(f.planned.plan.seed, f.chunk) for f in flights],
            moments=[f.moment for f in flights],
        )
        share = (time.perf_counter() - started) / len(flights)
        for flight in flights:
            flight.policy_seconds += share
            flight.largest_batch = max(flight.largest_batch, len(flights))
        self._outcomes.inferred(flights)
        executed = self._adapter.info.executed_steps
        for flight, actions in zip(flights, chunk.actions, strict=True):
            flight.count_inference()
            self._pool.ask(_execution(flight, actions[:executed]))


def _execution(flight: Flight, actions: FloatArray) -> Execute:
    """The chunk's actions up to the first that is not finite, which ends the episode."""
    actions = np.ascontiguousarray(actions, np.float32)
    finite = np.isfinite(actions).all(axis=1)
    if finite.all():
        return Execute(flight.slot, actions)
    first = int(np.argmin(finite))
    flight.error = f"the policy's action at step {flight.step + first} was not finite"
    return Execute(flight.slot, actions[:first], last=True)
