"""What does each study recipe cost at its default size, and what do recipes share in one study?

Each recipe is written by `new_study` with its own defaults and played alone into a folder of its
own; then all of them together in one study. An episode that two arms would play alike is played
once, so the whole takes fewer episodes than its parts. Prints, per recipe, episodes planned and
played and minutes, and of the whole the share of episodes that another arm had played.

    $ python perf/recipes.py --policy toy:bundled --benchmark toy --task '*' --seeds 0-4
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from vlascope import plugins
from vlascope.rollout.ledger import read_episodes
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study
from vlascope.study.writing import new_study


@dataclass(frozen=True)
class Cost:
    """What one study took.

    Attributes:
        planned: episodes of all arms, controls and recordings.
        played: those that were not taken from another arm.
        minutes: wall clock, analyses included.
        failed: arms and analyses that did not finish.
    """

    recipe: str
    planned: int
    played: int
    minutes: float
    failed: tuple[str, ...]

    @property
    def shared(self) -> float:
        """The share of episodes that another arm had played."""
        return 1 - self.played / self.planned


def cost(name: str, recipes: Sequence[str], folder: Path, **chosen: object) -> Cost:
    """Write, play and time one study."""
    file = folder / f"{name}.yaml"
    file.write_text(new_study(recipes, name=name, **chosen))  # type: ignore[arg-type]
    study = load_study(file)
    start = time.perf_counter()
    outcome = run_study(study, folder / name, progress=False)
    minutes = (time.perf_counter() - start) / 60
    records = [r for policy in study.policies for r in read_episodes(folder / name / policy)]
    played = sum(r.shared is None for r in records)
    return Cost(name, len(records), played, round(minutes, 2), tuple(outcome.complaints))


def main(
    policy: Annotated[str, typer.Option(help="ADAPTER:CHECKPOINT")] = "toy:bundled",
    benchmark: Annotated[str, typer.Option()] = "toy",
    task: Annotated[list[str] | None, typer.Option(help="By default every task.")] = None,
    seeds: Annotated[str, typer.Option()] = "0-4",
    recipe: Annotated[list[str] | None, typer.Option(help="By default all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the studies here.")] = None,
) -> None:
    """Play each recipe alone, then all of them together."""
    torch.set_num_threads(1)
    kinds = recipe or sorted(plugins.recipes())
    chosen = {
        "policies": [policy],
        "benchmark": benchmark,
        "tasks": task or ["*"],
        "seeds": seeds,
    }
    folder = out or Path(tempfile.mkdtemp(prefix="recipes-"))
    folder.mkdir(parents=True, exist_ok=True)
    costs = [cost(kind, [kind], folder, **chosen) for kind in kinds]
    if len(kinds) > 1:
        costs.append(cost("together", kinds, folder, **chosen))
    print(f"{'recipe':16} {'planned':>8} {'played':>8} {'shared':>7} {'minutes':>8}")
    for c in costs:
        print(f"{c.recipe:16} {c.planned:8} {c.played:8} {c.shared:7.1%} {c.minutes:8.2f}")
        for complaint in c.failed:
            print(f"  {complaint}")
    alone = sum(c.played for c in costs[: len(kinds)])
    whole = costs[-1]
    print(
        json.dumps(
            {
                "costs": [asdict(c) for c in costs],
                "played_together_to_apart": round(whole.played / alone, 3),
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
