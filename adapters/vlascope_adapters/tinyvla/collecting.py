"""Collecting the demonstrations of a whole recipe with several processes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from vlascope.plugins import benchmark_class
from vlascope_adapters.tinyvla.demonstrations import collect_task
from vlascope_adapters.tinyvla.recipe import Recipe

__all__ = ["collect_all"]


def collect_all(
    recipe: Recipe,
    folder: Path,
    *,
    workers: int = 2,
    on_task: Callable[[str], None] = lambda _: None,
) -> dict[str, Path]:
    """Make sure every task's demonstrations are in `folder`; give back their files.

    `on_task` is called with the name of each task that is there. What an interrupted run
    finished is kept. The longest tasks go first.

    Raises:
        RuntimeError: an expert fails too often.
    """
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        order = sorted(recipe.parts, key=lambda part: -recipe.parts[part].demos)
        waiting = {pool.submit(_collect, recipe, task, folder): task for task in order}
        found = {}
        for future in as_completed(waiting):
            task = waiting[future]
            found[task] = future.result()
            on_task(task)
    return {task: found[task] for task in recipe.parts}


def _collect(recipe: Recipe, task: str, folder: Path) -> Path:
    """One task, with a simulator of its own."""
    env = benchmark_class(recipe.benchmark.name)(**recipe.benchmark.options())
    try:
        return collect_task(env, recipe, task, folder)
    finally:
        env.close()
