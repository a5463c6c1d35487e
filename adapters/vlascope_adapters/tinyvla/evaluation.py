"""How often a TinyVLA succeeds, on seeds that no demonstration came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median

from pydantic import BaseModel, ConfigDict

from vlascope.adapter import VLAAdapter
from vlascope.records import EpisodePlan, EpisodeRecord
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.rollout.versions import own_versions
from vlascope.statistics import rate
from vlascope_adapters.tinyvla.adapter import TinyVLAAdapter

__all__ = ["FIRST_SEED", "SUCCESS", "SuccessTable", "TaskSuccess", "evaluate", "measure"]

FIRST_SEED = 7000
"""Neither the demonstrations nor the choice of when to stop training has seen these seeds."""
SUCCESS = "success.json"


class TaskSuccess(BaseModel):
    """Successes of `n` episodes with a 95 % Wilson interval.

    Attributes:
        steps: median environment steps to success; None without any.
        missing: episodes in which the simulator, not the policy, failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    successes: int
    n: int
    low: float
    high: float
    steps: float | None
    missing: int = 0

    @property
    def value(self) -> float:
        """The success rate."""
        return self.successes / self.n


class SuccessTable(BaseModel):
    """What was measured, and how to measure it again.

    Attributes:
        instruction: what the policy was told; None for each task's own instruction.
        tasks: by name; `groups` pools single tasks and those of a `scene/` each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    checkpoint_hash: str
    seeds: tuple[int, ...]
    max_steps: int
    executed_steps: int
    instruction: str | None
    versions: dict[str, str]
    tasks: dict[str, TaskSuccess]
    groups: dict[str, TaskSuccess]


def evaluate(
    adapter: TinyVLAAdapter,
    tasks: Sequence[str],
    run_dir: Path,
    *,
    episodes: int = 20,
    max_steps: int | None = None,
    instruction: str | None = None,
    workers: int = 2,
    command: str = "",
) -> SuccessTable:
    """Play `episodes` seeds of every task; finished episodes in `run_dir` are not repeated.

    `max_steps` is the card's where it is not given.

    Raises:
        UnknownName: a task that the benchmark does not have.
        IncompatibleError: the policy does not fit the benchmark.
    """
    choice = adapter.card.benchmark
    return measure(
        adapter,
        BenchmarkSpec(name=choice.name, options=choice.options()),
        tasks,
        run_dir,
        seeds=tuple(islice(choice.unseen_seeds(FIRST_SEED), episodes)),
        max_steps=max_steps or choice.max_steps,
        group=_group,
        instruction=instruction,
        workers=workers,
        command=command,
    )


def measure(
    adapter: VLAAdapter,
    benchmark: BenchmarkSpec,
    tasks: Sequence[str],
    run_dir: Path,
    *,
    seeds: tuple[int, ...],
    max_steps: int,
    group: Callable[[str], str],
    instruction: str | None = None,
    workers: int = 2,
    command: str = "",
) -> SuccessTable:
    """Any policy's success per task, and pooled over the tasks that `group` calls alike.

    Raises:
        UnknownName: a task that the benchmark does not have.
        IncompatibleError: the policy does not fit the benchmark.
    """
    arm = "own" if instruction is None else f"told {instruction!r}"
    plans = [
        EpisodePlan(arm=arm, task=task, seed=seed, max_steps=max_steps, instruction=instruction)
        for task in tasks
        for seed in seeds
    ]
    records = run_episodes(adapter, benchmark, plans, run_dir, workers=workers, title="evaluation")
    groups = dict.fromkeys(map(group, tasks))
    return SuccessTable(
        command=command,
        checkpoint_hash=adapter.info.checkpoint_hash,
        seeds=seeds,
        max_steps=max_steps,
        executed_steps=adapter.info.executed_steps,
        instruction=instruction,
        versions=records[0].versions if records else own_versions(),
        tasks={t: _success([r for r in records if r.plan.task == t]) for t in tasks},
        groups={g: _success([r for r in records if group(r.plan.task) == g]) for g in groups},
    )


def _group(task: str) -> str:
    """`multi` for `multi/open-drawer`, `single` for a task with a scene of its own."""
    return task.partition("/")[0] if "/" in task else "single"


def _success(records: Sequence[EpisodeRecord]) -> TaskSuccess:
    outcomes = [record.success for record in records]
    share = rate(outcomes)
    steps = [record.success_step for record in records if record.success_step is not None]
    return TaskSuccess(
        successes=sum(bool(outcome) for outcome in outcomes),
        n=share.n,
        low=share.low or 0.0,
        high=1.0 if share.high is None else share.high,
        steps=median(steps) if steps else None,
        missing=share.missing,
    )
