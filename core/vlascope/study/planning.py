"""What a study will cost, measured on a few steps before it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

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

__all__ = ["ArmCost", "Cost", "cost"]

_PROBED_CHUNKS = 3


@dataclass(frozen=True)
class ArmCost:
    """What one arm amounts to, as `Cost` has it for a policy."""

    group: WorkGroup
    minutes: float
    gigabytes: float

    @property
    def episodes(self) -> int:
        """How many."""
        return len(self.group.plans)


@dataclass(frozen=True)
class Cost:
    """What one policy's share of a study amounts to.

    Attributes:
        arms: depth thirds expanded, in the order they run.
        minutes: at most: every episode to its last step, at the speed just measured with one
            environment, divided by all environment processes.
        gigabytes: of activations recorded.
        memory_gigabytes: of parameters and buffers that one copy of the policy holds.
        device: where; `gpu_gigabytes`: the most its inferences took there, None without a GPU.
        copies: of the policy, one per actor.
    """

    policy: str
    arms: tuple[ArmCost, ...]
    memory_gigabytes: float
    device: str
    gpu_gigabytes: float | None
    copies: int

    @property
    def groups(self) -> tuple[WorkGroup, ...]:
        """The arms' groups."""
        return tuple(arm.group for arm in self.arms)

    @property
    def episodes(self) -> int:
        """Of all arms."""
        return sum(arm.episodes for arm in self.arms)

    @property
    def minutes(self) -> float:
        """Of all arms, one after another."""
        return sum(arm.minutes for arm in self.arms)

    @property
    def gigabytes(self) -> float:
        """Of all arms."""
        return sum(arm.gigabytes for arm in self.arms)

    def as_json(self) -> dict[str, Any]:
        """Plain data: per arm and in total."""
        return {
            "policy": self.policy,
            "device": self.device,
            "copies": self.copies,
            "policy_gigabytes": self.memory_gigabytes,
            "gpu_gigabytes": self.gpu_gigabytes,
            "arms": [
                {
                    "arm": arm.group.arm,
                    "role": arm.group.role,
                    "episodes": arm.episodes,
                    "hours": arm.minutes / 60,
                    "activation_gigabytes": arm.gigabytes,
                }
                for arm in self.arms
            ],
            "total": {
                "episodes": self.episodes,
                "hours": self.minutes / 60,
                "activation_gigabytes": self.gigabytes,
            },
        }


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
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
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
    copies = study.executor.actors if study.executor.kind == "ray" else 1
    seconds = _seconds_per_chunk(adapter, env, seen) * chunks / (study.workers * copies)
    arms = tuple(
        ArmCost(
            group,
            minutes=seconds * len(group.plans) / 60,
            gigabytes=_bytes_per_chunk(adapter, seen, group.record)
            * chunks
            * len(group.plans)
            / 1e9,
        )
        for group in own.groups
    )
    return Cost(
        name,
        arms,
        memory_gigabytes=_bytes_held(adapter) / 1e9,
        device=study.policies[name].device,
        gpu_gigabytes=_peak(),
        copies=copies,
    )


def _bytes_held(adapter: VLAAdapter) -> int:
    """Of parameters and buffers, those with two names once."""
    network = adapter.model
    tensors = {id(t): t for t in (*network.parameters(), *network.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def _peak() -> float | None:
    """The most GPU memory in use at once by this process so far; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    return torch.cuda.max_memory_allocated() / 1e9 or None


def _bytes_per_chunk(adapter: VLAAdapter, seen: Observation, spec: RecordSpec | None) -> int:
    if spec is None:
        return 0
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
