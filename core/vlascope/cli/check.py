"""`vlascope check`: the conformance checks of one adapter or benchmark, one line a promise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from vlascope import plugins
from vlascope.errors import unknown_name

if TYPE_CHECKING:
    from vlascope.conformance import CheckResult

__all__ = ["app"]

app = typer.Typer()

_SHOWN = {
    "pass": ("ok", typer.colors.GREEN),
    "skip": ("skip", typer.colors.YELLOW),
    "xfail": ("XFAIL", typer.colors.YELLOW),
    "xpass": ("XPASS", typer.colors.RED),
    "fail": ("FAIL", typer.colors.RED),
}


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(help="A registered adapter, named checkpoint, or benchmark.")
    ],
    benchmark: Annotated[
        bool, typer.Option("--benchmark", "-b", help="NAME is a benchmark, not an adapter.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only checks whose code matches this glob.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="For a benchmark: play these tasks.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, at the end.")] = False,
) -> None:
    """Does an adapter or a benchmark keep its promises? Ends with exit code 1 where it does not.

    Examples:

        vlascope check toy

        vlascope check COLLECTION:NAME

        vlascope check toy --only "patching*" --json

        vlascope check metaworld --benchmark --task reach
    """
    known = plugins.benchmarks() if benchmark else {**plugins.adapters(), **plugins.checkpoints()}
    if name not in known:
        _refuse(name, benchmark)
    results = []
    for result in _results(name, benchmark, only or [], task):
        results.append(result)
        if not as_json:
            _show(result)
    failed = [result.code for result in results if not result.ok]
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in results], indent=1))
    else:
        kept = sum(result.status == "pass" for result in results)
        typer.echo(f"{name}: {kept} of {len(results)} promises kept, {len(failed)} to look at")
    raise typer.Exit(1 if failed else 0)


def _results(
    name: str, benchmark: bool, only: list[str], tasks: list[str] | None
) -> Iterator[CheckResult]:
    from vlascope import conformance

    if benchmark:
        cls = plugins.benchmark_class(name)
        return conformance.check_benchmark(cls, tasks=tasks, only=only)
    if name in plugins.adapters():
        return conformance.check_adapter(plugins.adapter_class(name), only=only)
    from vlascope.loading import load

    kind = plugins.load("checkpoints", name).adapter
    return conformance.check_adapter(
        plugins.adapter_class(kind), only=only, make=partial(load, name)
    )


def _refuse(name: str, benchmark: bool) -> None:
    """An unknown name; a hint where it is the other kind of thing."""
    if not benchmark and name in plugins.benchmarks():
        raise typer.BadParameter(f"{name!r} is a benchmark: add --benchmark")
    if benchmark and name in plugins.adapters():
        raise typer.BadParameter(f"{name!r} is an adapter: leave out --benchmark")
    known = plugins.benchmarks() if benchmark else [*plugins.adapters(), *plugins.checkpoints()]
    raise unknown_name("benchmark" if benchmark else "adapter", name, known)


def _show(result: CheckResult) -> None:
    word, colour = _SHOWN[result.status]
    typer.echo(f"{typer.style(f'{word:5}', fg=colour)} {result.code}  {result.seconds:.2f} s")
    if result.message:
        if not result.ok:
            typer.echo(f"      promise: {result.promise}")
        typer.echo(f"      {result.message}")
