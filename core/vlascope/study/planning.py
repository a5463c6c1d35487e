"""What a study will cost, measured on a few steps before it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlascope import plugins
from vlascope.hooks import Moment
from vlascope.noise import generator_for
from vlascope.recording import RecordSpec, capture
from vlascope.specs import check_compatible
from vlascope.study.design import Design
from vlascope.study.editing import for_policy
from vlascope.study.executors import load_policy
from vlascope.study.from_analysis import FROM_ANALYSIS
from vlascope.study.groups import WorkGroup

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter
    from vlascope.benchmark import BenchmarkEnv
    from vlascope.types import Observation

__all__ = ["Cost", "cost"]

_PROBED_CHUNKS = 3


@dataclass(frozen=True)
class Cost:
    """What one policy's share of a study amounts to.

    Attributes:
        groups: the arms, depth thirds expanded, in the order they run.
        episodes: how many.
        minutes: at most: every episode to its last step, at the speed just measured with one
            environment, divided by the workers.
        gigabytes: of activations recorded.
    """

    policy: str
    groups: tuple[WorkGroup, ...]
    episodes: int
    minutes: float
    gigabytes: float


def cost(laid_out: Design) -> list[Cost]:
    """Load every policy and play a few steps, to say what the whole will take.

    Raises:
        IncompatibleError: a policy does not fit the benchmark.
        UnknownName: an edit names a hook point that a policy does not have.
    """
    choice = laid_out.study.benchmark
    env: BenchmarkEnv = plugins.benchmark_class(choice.name)(**choice.options)
    try:
        return [_cost_of(laid_out, name, env) for name in laid_out.study.policies]
    finally:
        env.close()


def _cost_of(laid_out: Design, name: str, env: BenchmarkEnv) -> Cost:
    study = laid_out.study
    adapter = load_policy(study.policies[name])
    check_compatible(adapter.info, env.info)
    own = for_policy(laid_out, adapter.info.pathways)
    for group in own.groups:
        for edit in group.definition.interventions:
            if edit["kind"] != FROM_ANALYSIS:
                adapter.match(edit["at"])
    steps = min(study.max_steps or env.info.max_steps, env.info.max_steps)
    chunks = -(-steps // adapter.info.executed_steps)
    seen = env.reset(own.groups[0].plans[0].task, seed=own.groups[0].plans[0].seed)
    bytes_ = sum(
        _bytes_per_chunk(adapter, seen, g.record) * chunks * len(g.plans)
        for g in own.groups
        if g.record is not None
    )
    episodes = sum(len(g.plans) for g in own.groups)
    seconds = _seconds_per_chunk(adapter, env, seen) * chunks * episodes / study.workers
    return Cost(name, own.groups, episodes, seconds / 60, bytes_ / 1e9)


def _bytes_per_chunk(adapter: VLAAdapter, seen: Observation, spec: RecordSpec) -> int:
    cache = capture(adapter, [seen], spec, moments=[Moment("probe", 0, 0)])
    return sum(row.numel() * row.element_size() for p in cache for c in cache[p] for row in c.rows)


def _seconds_per_chunk(adapter: VLAAdapter, env: BenchmarkEnv, seen: Observation) -> float:
    """One look, one inference and the steps in between, the first time left out."""
    times: Sequence[float] = [_timed(adapter, env, seen) for _ in range(_PROBED_CHUNKS + 1)][1:]
    return float(np.median(times))


def _timed(adapter: VLAAdapter, env: BenchmarkEnv, seen: Observation) -> float:
    start = time.perf_counter()
    chunk = adapter.infer([seen], generators=[generator_for(0)])
    for action in chunk.actions[0][: adapter.info.executed_steps]:
        env.step(action)
    env.observe()
    return time.perf_counter() - start
