"""`vlascope export`: episodes of a run as a dataset that others read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer()


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    to: Annotated[str, typer.Option(help="A format that can be written.")],
    out: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
    episodes: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only episodes of these names, arm/task/seed."),
    ] = None,
    only_successes: Annotated[
        bool, typer.Option("--only-successes", help="Leave out episodes that failed.")
    ] = False,
    video: Annotated[
        bool, typer.Option(help="Compress pictures as video; --no-video keeps every pixel.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Replay a run's actions in its simulator and write every frame as a dataset.

    Needs the run's benchmark. An episode that goes elsewhere than it was recorded is refused.
    `vlascope list datasets` shows the formats that are known.

    Example:

        vlascope export runs/demo --to NAME --out exported --only-successes
    """
    from vlascope.replay import export_run

    where = export_run(
        run,
        out,
        to=to,
        episodes=episodes,
        only_successes=only_successes,
        video=video,
        progress=not quiet,
    )
    typer.echo(str(where))
