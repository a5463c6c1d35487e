"""`vlascope video`: see what a robot did, after the fact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer()


@app.command()
def video(
    run: Annotated[Path, typer.Argument(help="The folder of a run or of a study.")],
    episode: Annotated[
        list[str] | None,
        typer.Option(metavar="ARM/TASK/SEED", help="Only these episodes, by name or glob."),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(metavar="ARM", help="Only these arms, by name or glob.")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="A camera of the benchmark; else its picture for people.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Height in pixels, where the benchmark takes one.")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=1, help="Environment steps per picture; else about 20 a second."),
    ] = None,
    together: Annotated[
        bool, typer.Option("--together", help="Arms of one task and seed side by side.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="A folder; by default `videos` in the run.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make videos that exist anew.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Videos of finished episodes, drawn from the scene that was kept at every step.

    Needs the run's benchmark and vlascope[video], but no policy. Where a benchmark keeps no scenes,
    the actions are played again. An episode whose hand leaves the recorded track by more than a
    millimetre is refused. Prints the path of every file.

    Examples:

        vlascope video runs/demo --episode baseline/door-open/5000

        vlascope video runs/demo --episode "*/door-open/5000" --together --camera corner3
        --size 480
    """
    from vlascope.replay.filming import film_run
    from vlascope.replay.view import View

    files = film_run(
        run,
        out,
        episodes=episode,
        arms=arm,
        view=View(camera=camera, size=size, every=every),
        together=together,
        overwrite=overwrite,
        progress=not quiet,
    )
    for file in files:
        typer.echo(str(file))
