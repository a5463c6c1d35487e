"""`vlascope study`: write, validate, plan and run a study file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from vlascope.study.design import Design
    from vlascope.study.planning import Cost
    from vlascope.study.schema import Study

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

File = Annotated[str, typer.Argument(help="A study file, or the name of one that a plugin ships.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a value: --set seeds=0-4."),
]
Arms = Annotated[
    list[str] | None,
    typer.Option("--arm", metavar="GLOB", help="Only these arms and the recordings they need."),
]


@app.callback()
def study() -> None:
    """Write, validate, plan and run a study file."""


@app.command()
def new(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="See `vlascope list recipes`.")
    ],
    policies: Annotated[
        list[str],
        typer.Option("--policy", metavar="ADAPTER:CHECKPOINT", help="Give several to compare."),
    ],
    benchmark: Annotated[str, typer.Option("--benchmark", help="See `vlascope list benchmarks`.")],
    tasks: Annotated[
        list[str], typer.Option("--task", metavar="GLOB", help="Names, globs or suite:NAME.")
    ],
    seeds: Annotated[str, typer.Option("--seeds", help="A list, or ranges.")] = "0-4",
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write; by default NAME.yaml.")
    ] = None,
) -> None:
    """Write a study file of one or more recipes, their options spelled out, to run or to edit.

    Examples:

        vlascope study new injection --policy toy:bundled --benchmark toy --task 'shared/*'

        vlascope study new language vision --policy toy:bundled --benchmark toy --task '*'
    """
    from vlascope.errors import AlreadyThere
    from vlascope.store.durable import write_atomically
    from vlascope.study.writing import new_study

    text = new_study(recipes, policies=policies, benchmark=benchmark, tasks=tasks, seeds=seeds)
    path = out or Path(f"{'-'.join(recipes)}.yaml")
    if path.exists():
        raise AlreadyThere(f"{path} is there already; remove it or give another --out")
    write_atomically(path, text.encode())
    typer.echo(f"{path} is written; next: vlascope study plan {path}")


@app.command()
def validate(file: File, overrides: Set = None) -> None:
    """Check a study file, without loading a policy or starting a simulator.

    Examples:

        vlascope study validate study.yaml
    """
    found, laid_out = _laid_out(file, overrides, None)
    episodes = sum(len(g.plans) for g in laid_out.groups) * len(found.policies)
    typer.echo(f"{file}: sound; {len(laid_out.groups)} arms, {episodes} episodes")


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def plan(file: File, overrides: Set = None, arms: Arms = None, as_json: Json = False) -> None:
    """Show what would run, and measure on a few steps what it will take.

    Examples:

        vlascope study plan study.yaml --set seeds=0-4
    """
    show_plan(file, overrides, arms, as_json=as_json)


def show_plan(
    file: str, overrides: list[str] | None, arms: list[str] | None, *, as_json: bool
) -> None:
    """Print episodes, hours, memory and activations, per arm and in total."""
    from vlascope.study.planning import cost

    found, laid_out = _laid_out(file, overrides, arms)
    shares = cost(laid_out)
    if as_json:
        whole = {
            "schema": "vlascope.plan/1",
            "study": found.name,
            "executor": found.executor.kind,
            "may_stop_early": bool(found.stop),
            "policies": [share.as_json() for share in shares],
        }
        typer.echo(json.dumps(whole, indent=1))
        return
    for share in shares:
        _show(share)
    if found.stop:
        typer.echo("arms may stop early (`stop`): these are the most they can take")


@app.command()
def run(
    file: File,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run directory; by default runs/NAME.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="Only the I-th of N parts.")
    ] = None,
    overrides: Set = None,
    arms: Arms = None,
    executor: Annotated[
        Literal["local", "ray"] | None,
        typer.Option("--executor", help="Where to play; options are in the study's `executor`."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Play every episode that is not finished; run again to resume.

    Ends with exit code 1 if an arm failed; the other arms are run all the same.

    Examples:

        vlascope study run study.yaml --out runs/study

        vlascope study run study.yaml --arm 'expert*' --shard 1/4

        vlascope study run study.yaml --executor ray --set executor.actors=8
    """
    from vlascope.study.execution import run_study

    found, _ = _laid_out(file, overrides, arms)
    if executor is not None:
        chosen = found.executor.model_copy(update={"kind": executor})
        found = found.model_copy(update={"executor": chosen})
    folder = out or Path("runs") / found.name
    began = time.time()
    outcome = run_study(
        found,
        folder,
        arms=arms or (),
        shard=_shard(shard),
        progress=not quiet,
        say=lambda line: typer.secho(line, fg="red", err=True),
    )
    _sum_up(folder, began)
    if not outcome.ok:
        typer.echo(f"{len(outcome.complaints)} arms did not finish; see {folder}/outcomes.json")
        raise typer.Exit(1)
    typer.echo(f"every arm finished; `vlascope report {folder}` says what was found")


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="The run directory of a study.")],
    as_json: Json = False,
) -> None:
    """Say how far a study is, over all workers and shards, while it runs or afterwards.

    Examples:

        vlascope study status runs/study
    """
    from dataclasses import asdict

    from vlascope.study.status import status as status_of

    found = status_of(folder)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
        return
    left = found.remaining_seconds
    soon = "" if left is None else f", {left / 60:.1f} minutes remain"
    typer.echo(
        f"{found.finished} of {found.planned} episodes; {found.per_minute:.1f} a minute by "
        f"{found.active} workers over the last 10 minutes{soon}"
    )
    for line in found.tally.sentences():
        typer.echo(line)


def _sum_up(folder: Path, began: float) -> None:
    """What this run took and how its episodes failed, by kind."""
    from vlascope.study.status import log_lines, tally

    lines = [line for line in log_lines(folder) if line.at >= began]
    if not lines:
        return
    minutes = (time.time() - began) / 60
    rate = len(lines) / max(minutes, 1e-9)
    typer.echo(f"{len(lines)} episodes in {minutes:.1f} minutes, {rate:.1f} a minute")
    for line in tally(lines).sentences():
        typer.echo(line)


def _laid_out(
    file: str, overrides: list[str] | None, arms: list[str] | None
) -> tuple[Study, Design]:
    from vlascope.study.design import design
    from vlascope.study.loading import load_study

    found = load_study(file, overrides or ())
    laid_out = design(found)
    return found, laid_out.only(arms) if arms else laid_out


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise typer.BadParameter(f"--shard is I/N with I from 1 to N; got {text!r}")
    return int(index) - 1, int(count)


def _show(share: Cost) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"policy {share.policy}", title_justify="left")
    for column in ("arm", "role", "episodes", "hours", "GB", "edits", "records"):
        table.add_column(column, overflow="fold")
    for arm in share.arms:
        group = arm.group
        edits = "\n".join(
            f"{e['kind']} at {', '.join(e['at'])}"
            if "at" in e
            else f"{e['key']} of {e['analysis']}"
            for e in group.definition.interventions
        )
        kept = ", ".join(group.record.at) if group.record else ""
        amounts = (str(arm.episodes), f"{arm.minutes / 60:.2f}", f"{arm.gigabytes:.2f}")
        table.add_row(group.arm, group.role, *amounts, edits, kept)
    Console().print(table)
    typer.echo(
        f"{share.episodes} episodes; at most about {share.minutes / 60:.2f} hours "
        f"({share.minutes:.1f} minutes) if every episode runs to its last step, and "
        f"{share.gigabytes:.2f} GB of activations"
    )
    gpu = (
        "" if share.gpu_gigabytes is None else f", at most {share.gpu_gigabytes:.2f} GB of it used"
    )
    copies = "" if share.copies == 1 else f", {share.copies} copies"
    typer.echo(f"the policy holds {share.memory_gigabytes:.2g} GB on {share.device}{gpu}{copies}")
