"""`vlascope plan`: what a study will take, before anything starts."""

from __future__ import annotations

import typer

from vlascope.cli.study import Arms, File, Json, Set, show_plan

__all__ = ["app"]

app = typer.Typer()


@app.command()
def plan(file: File, overrides: Set = None, arms: Arms = None, as_json: Json = False) -> None:
    """Episodes, hours, memory and GB of activations of a study, measured on a few steps.

    Examples:

        vlascope plan study.yaml --set seeds=0-4

        vlascope plan study.yaml --json
    """
    show_plan(file, overrides, arms, as_json=as_json)
