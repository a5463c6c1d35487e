"""`vlascope zoo`: demonstrations, training and evaluation of the policies that vlascope ships."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from platformdirs import user_cache_path

from vlascope_adapters.tinyvla.others import collect_other, keep, train_other, training_of

if TYPE_CHECKING:
    from vlascope_adapters.tinyvla.evaluation import SuccessTable
    from vlascope_adapters.tinyvla.recipe import Recipe

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Train and evaluate the policies that vlascope ships.")


TINYVLA = "tinyvla"


def _known(name: str) -> str:
    """A policy that can be made from nothing: this one, or one of another plugin."""
    from vlascope import plugins
    from vlascope.errors import unknown_name

    known = [TINYVLA, *plugins.trainings()]
    if name not in known:
        raise unknown_name("policy to train", name, known)
    return name


PolicyName = Annotated[
    str,
    typer.Argument(help="tinyvla, or a training of `vlascope list trainings`.", callback=_known),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", help="A file, 'adverbs', 'libero' or 'aloha'; default: the bundled."),
]
DemoFolder = Annotated[
    Path | None, typer.Option("--demos", help="Where demonstrations are kept; default: the cache.")
]
Workers = Annotated[int, typer.Option(help="Simulator processes.")]


@app.command()
def demos(
    policy: PolicyName,
    recipe: RecipeFile = None,
    folder: DemoFolder = None,
    workers: Workers = 2,
) -> None:
    """Collect the scripted demonstrations; what is there already is kept.

    Example: vlascope zoo demos tinyvla
    """
    if policy == TINYVLA:
        files = _collect(_recipe(recipe), folder, workers)
    else:
        files = collect_other(policy, folder, workers)
    where = next(iter(files.values())).parent
    typer.echo(f"{policy}: demonstrations of {len(files)} tasks in {where}")


@app.command()
def train(
    policy: PolicyName,
    out: Annotated[
        Path | None, typer.Option(help="Where the policy goes; default: its name.")
    ] = None,
    recipe: RecipeFile = None,
    folder: DemoFolder = None,
    workers: Workers = 2,
) -> None:
    """Collect demonstrations where missing, train, and write the policy.

    Stopped at any moment, even by kill -9, the same command goes on from the last checkpoint and
    ends with the same weights.

    Examples:

      vlascope zoo train tinyvla --out my-tinyvla

      vlascope zoo evaluate tinyvla --checkpoint my-tinyvla

      vlascope zoo train tinyvla --recipe adverbs --out my-adverbs
    """
    out = out or Path(policy)
    if policy != TINYVLA:
        train_other(policy, recipe, folder, out, workers)
        return
    from rich.progress import Progress as Bar

    from vlascope_adapters.tinyvla.making import train_policy
    from vlascope_adapters.tinyvla.training import Progress

    chosen = _recipe(recipe)
    files = _collect(chosen, folder, workers)
    with Bar() as bar:
        line = bar.add_task("training", total=chosen.schedule.steps)

        def show(now: Progress) -> None:
            bar.update(line, completed=now.step, description=f"training  loss {now.action:.3f}")

        seconds = train_policy(chosen, files, out, on_step=show)
    steps = chosen.schedule.steps
    typer.echo(f"{policy}: {steps} steps, {seconds / 60:.1f} CPU-minutes a worker, in {out}")


@app.command()
def evaluate(
    policy: PolicyName,
    checkpoint: Annotated[
        str, typer.Option(help="'bundled', 'adverbs', 'libero', 'aloha' or a folder.")
    ] = "bundled",
    out: Annotated[
        Path | None,
        typer.Option(help="Where episodes and the table go; default: NAME-evaluation."),
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Unseen seeds per task.")] = 20,
    max_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps after which one fails; default: the checkpoint's own."),
    ] = None,
    instruction: Annotated[
        str | None, typer.Option(help="What to say instead of each task's own instruction.")
    ] = None,
    workers: Workers = 2,
) -> None:
    """Measure success per task on seeds that no demonstration came from.

    Examples:

      vlascope zoo evaluate tinyvla

      vlascope zoo evaluate tinyvla --task faucet-open --instruction ""
    """
    out = out or Path(f"{policy}-evaluation")
    if policy != TINYVLA:
        found = training_of(policy).evaluate(
            checkpoint,
            task,
            out,
            episodes=episodes,
            max_steps=max_steps,
            instruction=instruction,
            workers=workers,
        )
        keep(found, out)
        _print(found)
        return
    from vlascope_adapters.tinyvla.adapter import TinyVLAAdapter
    from vlascope_adapters.tinyvla.evaluation import evaluate as measure

    adapter = TinyVLAAdapter.from_pretrained(checkpoint)
    limit = max_steps or adapter.card.benchmark.max_steps
    table = measure(
        adapter,
        task or list(adapter.card.tasks),
        out,
        episodes=episodes,
        max_steps=limit,
        instruction=instruction,
        workers=workers,
        command=f"vlascope zoo evaluate {policy} "
        + ("" if checkpoint == "bundled" else f"--checkpoint {checkpoint} ")
        + f"--episodes {episodes} --max-steps {limit}",
    )
    keep(table, out)
    _print(table)


def _recipe(path: Path | None) -> Recipe:
    from vlascope_adapters.tinyvla.recipe import SHIPPED_RECIPES, load_recipe

    if path is not None and str(path) in SHIPPED_RECIPES and not path.exists():
        return load_recipe(bundled=str(path))
    return load_recipe(path)


def _collect(recipe: Recipe, folder: Path | None, workers: int) -> dict[str, Path]:
    """Collect with a progress bar that counts demonstrations."""
    from rich.progress import Progress as Bar

    from vlascope_adapters.tinyvla.collecting import collect_all

    where = folder or user_cache_path("vlascope") / "demonstrations"
    with Bar() as bar:
        total = sum(plan.demos for plan in recipe.parts.values())
        line = bar.add_task("demonstrations", total=total)
        return collect_all(
            recipe,
            where,
            workers=workers,
            on_task=lambda task: bar.advance(line, recipe.parts[task].demos),
        )


def _print(table: SuccessTable) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table("task", "success", "n", "95 % interval", "median steps")
    for rows in (table.tasks, table.groups):
        for name, row in rows.items():
            steps = "" if row.steps is None else f"{row.steps:.0f}"
            interval = f"{row.low:.2f} to {row.high:.2f}"
            shown.add_row(name, f"{row.value:.2f}", str(row.n), interval, steps)
        shown.add_section()
    Console().print(shown)
