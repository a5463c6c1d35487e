"""`vlascope zoo` for the policies of other plugins: the same three commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from vlascope.trainings import Training

__all__ = ["collect_other", "keep", "train_other", "training_of"]


def training_of(name: str) -> Training:
    """The training that a plugin registered under a name."""
    from vlascope import plugins

    return plugins.load("trainings", name)


def collect_other(name: str, folder: Path | None, workers: int) -> dict[str, Path]:
    """Collect with a progress bar that counts demonstrations."""
    from rich.progress import Progress as Bar

    with Bar() as bar:
        line = bar.add_task("demonstrations", total=None)

        def show(_task: str, done: int, total: int) -> None:
            bar.update(line, completed=done, total=total)

        return training_of(name).collect(folder, workers, show)


def train_other(
    name: str, recipe: Path | None, folder: Path | None, out: Path, workers: int
) -> None:
    """Collect where missing, train with a progress bar, say what it took."""
    from rich.progress import Progress as Bar

    files = collect_other(name, folder, workers)
    with Bar() as bar:
        line = bar.add_task("training", total=None)

        def show(step: int, steps: int, loss: float) -> None:
            bar.update(line, completed=step, total=steps, description=f"training  loss {loss:.3f}")

        seconds = training_of(name).train(recipe, files, out, show)
    typer.echo(f"{name}: {seconds / 60:.1f} CPU-minutes, in {out}")


def keep(table: Any, out: Path) -> None:
    """Write the table of an evaluation beside its episodes."""
    from vlascope_adapters.tinyvla.evaluation import SUCCESS

    (out / SUCCESS).write_text(table.model_dump_json(indent=1) + "\n")
