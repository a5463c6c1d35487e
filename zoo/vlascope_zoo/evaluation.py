"""How often a policy succeeds, on seeds that no demonstration came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlascope.adapter import VLAAdapter
from vlascope.rollout import BenchmarkSpec
from vlascope_adapters.tinyvla.evaluation import FIRST_SEED, SUCCESS, SuccessTable, measure
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
    choice = lessons().benchmark
    return measure(
        adapter,
        BenchmarkSpec(name=choice.name, options=choice.options()),
        tasks,
        run_dir,
        seeds=tuple(range(FIRST_SEED, FIRST_SEED + episodes)),
        max_steps=max_steps,
        group=group_of,
        instruction=instruction,
        workers=workers,
        command=command,
    )


def group_of(task: str) -> str:
    """`unique` where the scene tells what to do; else `shared`, or the `SCENE/` of the name."""
    if "/" in task:
        return task.partition("/")[0]
    plan = lessons().tasks.get(task)
    return "unique" if plan is None or plan.scene_decides else "shared"
