"""`vlascope list`: what is installed, without importing any of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from vlascope import plugins
from vlascope.errors import unknown_name

__all__ = ["app"]

app = typer.Typer()


@app.command()
def show(
    what: Annotated[
        str | None,
        typer.Argument(help="adapters, benchmarks, interventions, recipes, ... or tasks"),
    ] = None,
    name: Annotated[str | None, typer.Argument(help="For tasks: the benchmark.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """What is installed: adapters, benchmarks, interventions, and a benchmark's tasks.

    Examples:

        vlascope list

        vlascope list adapters --json

        vlascope list tasks metaworld
    """
    if what == "tasks":
        _tasks(name, as_json)
        return
    kinds: list[plugins.Kind] = [k for k in plugins.KINDS if what in (None, k)]
    if not kinds:
        raise unknown_name("listing", str(what), [*plugins.KINDS, "tasks"])
    found = {kind: plugins.registry()[kind] for kind in kinds}
    if as_json:
        rows = {
            kind: [vars(entry) for entry in sorted(found[kind].values(), key=lambda e: e.name)]
            for kind in kinds
        }
        typer.echo(json.dumps(rows, indent=1))
        return
    for kind in kinds:
        if found[kind] or what:
            typer.secho(kind, bold=True)
        width = max((len(n) for n in found[kind]), default=0)
        for entry in sorted(found[kind].values(), key=lambda e: e.name):
            typer.echo(f"  {entry.name:{width}}  {entry.summary}  [{entry.plugin}]")


def _tasks(name: str | None, as_json: bool) -> None:
    names = [name] if name else sorted(plugins.benchmarks())
    suites = {n: plugins.benchmark_class(n).suites() for n in names}
    if as_json:
        rows = {n: {s: [vars(t) for t in ts] for s, ts in suites[n].items()} for n in names}
        typer.echo(json.dumps(rows, indent=1))
        return
    for benchmark in names:
        for suite, tasks in suites[benchmark].items():
            typer.secho(f"{benchmark}: {suite}", bold=True)
            width = max(len(t.name) for t in tasks)
            for task in tasks:
                typer.echo(f"  {task.name:{width}}  {task.instruction}")
