"""`vlascope report`: write the report of a study that was run."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer()


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The run directory of a study.")],
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Write report.html, report.md and report.json into a run directory.

    Examples:

        vlascope report runs/demo --open
    """
    from vlascope.report import write_report

    page = write_report(folder)
    for kind in ("html", "md", "json"):
        typer.echo(str(page.with_suffix(f".{kind}")))
    if show:
        webbrowser.open(page.resolve().as_uri())
