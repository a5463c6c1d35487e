"""`vlascope compare`: put one battery of questions to many policies, and report side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from vlascope.comparison.running import Ended

__all__ = ["app"]

app = typer.Typer()


@app.command()
def compare(
    file: Annotated[
        str, typer.Argument(help="A comparison file, or the name of one that a plugin ships.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="The comparison's directory; else runs/NAME.")
    ] = None,
    entries: Annotated[
        list[str] | None,
        typer.Option("--entry", metavar="NAME", help="Play only this entry; repeatable."),
    ] = None,
    questions: Annotated[
        list[str] | None,
        typer.Option("--question", metavar="NAME", help="Play only this question; repeatable."),
    ] = None,
    executor: Annotated[
        Literal["local", "ray"] | None,
        typer.Option("--executor", help="Where to play; options are in the file's `executor`."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", "-n", help="Say what would be played, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Begin without asking.")] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Play nothing; write the report again.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Put a battery of questions to many policies, and write one report of what they answered.

    Every entry of the file is a study of one policy, run at OUT/ENTRY; what is finished is not
    played again. Ends with exit code 1 if an entry or an arm of one failed; the others are played
    all the same.

    Examples:

        vlascope compare zoo.yaml --plan

        vlascope compare zoo.yaml --out runs/zoo --yes

        vlascope compare zoo.yaml --entry mine

        vlascope compare zoo.yaml --entry mine --question language

        vlascope compare zoo.yaml --report-only
    """
    from vlascope.comparison.loading import load_comparison
    from vlascope.comparison.running import prepare, run_comparison

    found = load_comparison(file)
    folder = out or Path("runs") / found.name
    if report_only:
        _report(folder)
        return
    prepared = prepare(found, entries or (), questions or (), executor=executor)
    for entry in prepared:
        for line in entry.sentences():
            typer.echo(line)
    total = sum(entry.asked.episodes for entry in prepared if entry.asked is not None)
    typer.echo(f"{len(prepared)} entries, at most {total} episodes, into {folder}")
    if plan:
        return
    if not yes and sys.stdin.isatty():
        typer.confirm("Begin?", default=True, abort=True)
    ended = run_comparison(
        found, folder, prepared, progress=not quiet, tell=typer.echo, say=_complain
    )
    _report(folder)
    _judge(ended)


def _report(folder: Path) -> None:
    """Write the report, and say where it is."""
    from vlascope.comparison.report import write_comparison

    page = write_comparison(folder)
    for kind in ("html", "md", "json"):
        typer.echo(str(page.with_suffix(f".{kind}")))


def _judge(ended: Ended) -> None:
    for name, why in ended.failed.items():
        _complain(f"entry {name} failed: {why}")
    for name, lines in ended.complaints.items():
        for line in lines:
            _complain(f"entry {name}: {line}")
    if not ended.ok:
        raise typer.Exit(1)


def _complain(line: str) -> None:
    typer.secho(line, fg="red", err=True)
