"""From a recipe to a policy on disk, resumable at every stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

from platformdirs import user_cache_path

from vlascope_adapters.tinyvla.collecting import collect_all
from vlascope_adapters.tinyvla.demonstrations import load_demonstrations
from vlascope_zoo.lessons import Batches, statistics_of
from vlascope_zoo.recipe import Recipe, lessons
from vlascope_zoo.trained import CARD, Card
from vlascope_zoo.training import Progress, Trainer

__all__ = ["collect", "train_policy"]

_LIBRARIES = ("vlascope", "lerobot", "torch", "transformers")
_PIECES = 20


def collect(
    folder: Path | None = None,
    *,
    workers: int = 2,
    on_task: Callable[[str], None] = lambda _: None,
) -> dict[str, Path]:
    """Make sure that every task's demonstrations are there (by default in the user's cache)."""
    where = folder or user_cache_path("vlascope") / "demonstrations"
    return collect_all(lessons().collection(), where, workers=workers, on_task=on_task)


def train_policy(
    name: str,
    recipe: Recipe,
    demos: Mapping[str, Path],
    out: Path,
    *,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> Card:
    """Train from stored demonstrations and write policy and card to `out`.

    Stopped at any moment, it goes on from its last checkpoint and ends with the same weights.
    """
    loaded = {task: load_demonstrations(path) for task, path in demos.items()}
    statistics = statistics_of(loaded)
    batches = Batches(recipe, loaded)
    played = {task: min(found.episodes, recipe.demos or 10**9) for task, found in loaded.items()}
    del loaded
    trainer = Trainer(recipe, batches, statistics, out)
    trainer.run(on_step=on_step)
    trainer.finish()
    card = Card(
        name=name,
        adapter=recipe.adapter,
        summary=recipe.summary,
        recipe=recipe.key,
        seed=recipe.seed,
        parameters=sum(p.numel() for p in trainer.policy.parameters()),
        steps=trainer.step,
        batch=recipe.schedule.batch,
        demonstrations=played,
        cpu_seconds=round(trainer.cpu_seconds, 1),
        losses=_pieces(trainer.losses),
        versions={library: version(library) for library in _LIBRARIES},
    )
    (out / CARD).write_text(card.model_dump_json(indent=1) + "\n")
    return card


def _pieces(losses: list[float]) -> tuple[float, ...]:
    """Means of (up to) twenty equal stretches."""
    size = max(1, -(-len(losses) // _PIECES))
    return tuple(round(fmean(losses[i : i + size]), 4) for i in range(0, len(losses), size))
