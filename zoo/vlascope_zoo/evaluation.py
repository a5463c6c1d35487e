"""How often a policy succeeds, on seeds that no demonstration came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from vlascope.adapter import VLAAdapter
from vlascope.records import EpisodePlan, EpisodeRecord
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.rollout.versions import own_versions
from vlascope.statistics import rate
from vlascope_adapters.tinyvla.evaluation import FIRST_SEED, SUCCESS, SuccessTable, TaskSuccess
from vlascope_zoo.recipe import lessons

__all__ = ["SUCCESS", "SuccessTable", "evaluate", "group_of"]


def evaluate(
    adapter: VLAAdapter,
    tasks: Sequence[str],
    run_dir: Path,
    *,
    episodes: int = 20,
    max_steps: int = 150,
    instruction: str | None = None,
    workers: int = 2,
    command: str = "",
) -> SuccessTable:
    """Play `episodes` unseen seeds of every task; finished episodes of `run_dir` are kept.

    Raises:
        UnknownName: a task that the benchmark does not have.
        IncompatibleError: the policy does not fit the benchmark.
    """
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + episodes))
    arm = "own" if instruction is None else f"told {instruction!r}"
    plans = [
        EpisodePlan(arm=arm, task=task, seed=seed, max_steps=max_steps, instruction=instruction)
        for task in tasks
        for seed in seeds
    ]
    choice = lessons().benchmark
    spec = BenchmarkSpec(name=choice.name, options=choice.options())
    records = run_episodes(adapter, spec, plans, run_dir, workers=workers, title="evaluation")
    groups = dict.fromkeys(map(group_of, tasks))
    return SuccessTable(
        command=command,
        checkpoint_hash=adapter.info.checkpoint_hash,
        seeds=seeds,
        max_steps=max_steps,
        executed_steps=adapter.info.executed_steps,
        instruction=instruction,
        versions=records[0].versions if records else own_versions(),
        tasks={t: _success([r for r in records if r.plan.task == t]) for t in tasks},
        groups={g: _success([r for r in records if group_of(r.plan.task) == g]) for g in groups},
    )


def group_of(task: str) -> str:
    """`unique` where the scene tells what to do; else `shared`, or the `SCENE/` of the name."""
    if "/" in task:
        return task.partition("/")[0]
    plan = lessons().tasks.get(task)
    return "unique" if plan is None or plan.scene_decides else "shared"


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
