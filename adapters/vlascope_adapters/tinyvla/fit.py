"""Training with a team of processes, from this one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Thread

import torch
from torch import Tensor, multiprocessing

from vlascope_adapters.tinyvla.batches import Batches
from vlascope_adapters.tinyvla.parallel import Team
from vlascope_adapters.tinyvla.recipe import Recipe
from vlascope_adapters.tinyvla.training import Progress, Trainer

__all__ = ["fit"]


def fit(
    recipe: Recipe,
    batches: Batches,
    vocabulary: int,
    folder: Path,
    *,
    start: Mapping[str, Tensor] | None = None,
    until: int | None = None,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> Trainer:
    """Train with as many processes as the recipe says; go on from the folder's checkpoint.

    The calling process is worker 0. A worker that dies stops all; run again to go on.
    """
    workers = recipe.schedule.workers
    if workers == 1:
        trainer = Trainer(recipe, batches, vocabulary, folder, start=start)
        trainer.run(until=until, on_step=on_step)
        return trainer
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(workers)
    trainer = Trainer(recipe, batches, vocabulary, folder, start=start)
    size = sum(parameter.numel() for parameter in trainer.parameters)
    gradients = torch.zeros(workers, size).share_memory_()  # type: ignore[no-untyped-call]
    others = [
        spawn.Process(
            target=_work,
            args=(
                recipe,
                batches,
                vocabulary,
                folder,
                Team(rank, gradients, barrier),
                start,
                until,
            ),
            daemon=True,
        )
        for rank in range(1, workers)
    ]
    for other in others:
        other.start()
    Thread(target=_watch, args=(others, barrier), daemon=True).start()
    trainer.team = Team(0, gradients, barrier)
    try:
        trainer.run(until=until, on_step=on_step)
    except BaseException:
        barrier.abort()
        raise
    finally:
        for other in others:
            other.join(timeout=30)
    return trainer


def _watch(others: Sequence[BaseProcess], barrier: Barrier) -> None:
    """Let nobody wait for a worker that has died."""
    wait([other.sentinel for other in others])
    if any(other.exitcode for other in others):
        barrier.abort()


def _work(
    recipe: Recipe,
    batches: Batches,
    vocabulary: int,
    folder: Path,
    team: Team,
    start: Mapping[str, Tensor] | None,
    until: int | None,
) -> None:
    """A worker that is not the first: it trains along and says nothing."""
    Thread(target=_leave_with_parent, daemon=True).start()
    Trainer(recipe, batches, vocabulary, folder, team, start).run(until=until)


def _leave_with_parent() -> None:
    """End this process when the first worker is gone, even by kill -9."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
