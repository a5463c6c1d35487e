"""What `vlascope zoo demos|train|evaluate NAME` does for the policies of this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlascope_zoo.recipe import lessons, load_recipe, recipe_names

if TYPE_CHECKING:
    from vlascope_zoo.evaluation import SuccessTable

__all__ = ["ZooTraining"]

_MAX_STEPS = 150
"""After so many steps an episode of the evaluation has failed."""


@dataclass(frozen=True)
class ZooTraining:
    """One recipe, ready to be carried out."""

    name: str

    def collect(
        self, folder: Path | None, workers: int, on_task: Callable[[str, int, int], None]
    ) -> dict[str, Path]:
        """Collect demonstrations where missing; `on_task` is told name, done and total."""
        from vlascope_zoo.making import collect

        tasks = lessons().tasks
        total = sum(plan.demos for plan in tasks.values())
        done = 0

        def count(task: str) -> None:
            nonlocal done
            done += tasks[task].demos
            on_task(task, done, total)

        return collect(folder, workers=workers, on_task=count)

    def train(
        self,
        recipe: Path | None,
        demos: dict[str, Path],
        out: Path,
        on_step: Callable[[int, int, float], None],
    ) -> float:
        """Train to `out`; `on_step` is told step, total and loss. Gives CPU seconds."""
        from vlascope_zoo.making import train_policy

        chosen = load_recipe(str(recipe) if recipe else self.name)
        total = chosen.schedule.steps
        card = train_policy(
            self.name, chosen, demos, out, on_step=lambda now: on_step(now.step, total, now.loss)
        )
        return card.cpu_seconds

    def evaluate(
        self,
        checkpoint: str,
        tasks: Sequence[str] | None,
        out: Path,
        *,
        episodes: int,
        max_steps: int | None,
        instruction: str | None,
        workers: int,
    ) -> SuccessTable:
        """Measure success per task; `checkpoint` is `bundled` or a folder that `train` wrote."""
        from vlascope.loading import load
        from vlascope_zoo.evaluation import evaluate
        from vlascope_zoo.trained import checkpoint_in, named

        found = named(self.name) if checkpoint == "bundled" else checkpoint_in(Path(checkpoint))
        limit = max_steps or _MAX_STEPS
        which = "" if checkpoint == "bundled" else f"--checkpoint {checkpoint} "
        return evaluate(
            load(found.adapter, found.checkpoint, **found.options),
            tasks or list(lessons().tasks),
            out,
            episodes=episodes,
            max_steps=limit,
            instruction=instruction,
            workers=workers,
            command=f"vlascope zoo evaluate {self.name} {which}"
            f"--episodes {episodes} --max-steps {limit}",
        )


def __getattr__(attribute: str) -> ZooTraining:
    """`recipe_act_seed1` is the recipe `act-seed1`: import strings hold identifiers only."""
    known = {f"recipe_{name.replace('-', '_')}": name for name in recipe_names()}
    if attribute not in known:
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    return ZooTraining(known[attribute])
