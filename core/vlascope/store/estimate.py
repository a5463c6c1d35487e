"""How much disk and time a recording would take, before it is started."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlascope.adapter import VLAAdapter
from vlascope.noise import generator_for
from vlascope.recording import RecordSpec, record
from vlascope.types import Observation

__all__ = ["Estimate", "estimate_recording"]

_COLUMN_BYTES = 24


@dataclass(frozen=True)
class Estimate:
    """What recording would take.

    Attributes:
        gigabytes: on disk, 10^9 bytes, columns included.
        policy_hours: of inference alone, on this machine, at the batch size measured.
        overhead: extra inference time that recording costs (0.05 is 5%).
        bytes_per_chunk: by hook point.
        chunks: inferences in all.
    """

    gigabytes: float
    policy_hours: float
    overhead: float
    bytes_per_chunk: Mapping[str, int]
    chunks: int

    def __str__(self) -> str:
        return (
            f"{self.gigabytes:.3g} GB in {len(self.bytes_per_chunk)} hook points, "
            f"{self.policy_hours:.3g} h of inference ({self.overhead:+.0%} for recording)"
        )


def estimate_recording(
    adapter: VLAAdapter,
    spec: RecordSpec,
    *,
    episodes: int,
    steps: int,
    observation: Observation | None = None,
    batch: int = 1,
    repeats: int = 3,
) -> Estimate:
    """Infer a few times with and without recording, and scale up.

    Args:
        adapter: the policy, on the device it will run on.
        spec: what to keep.
        episodes: how many will be recorded.
        steps: environment steps of each.
        observation: what the policy sees; by default its example.
        batch: rows per inference.
        repeats: timed inferences; the median counts.

    Raises:
        UnknownName: a glob of the spec names nothing.
    """
    rows = [observation or adapter.example_observation()] * batch
    _seconds(adapter, rows, 1)
    bare = _seconds(adapter, rows, repeats)
    with record(adapter, spec) as cache:
        recording = _seconds(adapter, rows, repeats)
        sizes = {
            str(point): sum(
                value.numel() * value.element_size() + len(value) * _COLUMN_BYTES
                for captured in cache[point]
                for value in captured.rows
            )
            // (batch * repeats)
            for point in cache
        }
    chunks = episodes * math.ceil(steps / adapter.info.executed_steps)
    return Estimate(
        gigabytes=sum(sizes.values()) * chunks / 1e9,
        policy_hours=recording * chunks / batch / 3600,
        overhead=recording / bare - 1.0,
        bytes_per_chunk=sizes,
        chunks=chunks,
    )


def _seconds(adapter: VLAAdapter, rows: Sequence[Observation], repeats: int) -> float:
    """Median wall time of one inference."""
    times = []
    for _ in range(repeats):
        generators = [generator_for(i) for i in range(len(rows))]
        start = time.perf_counter()
        adapter.infer(rows, generators=generators)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
