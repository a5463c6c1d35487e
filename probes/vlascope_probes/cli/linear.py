"""`vlascope probes`: fit linear probes on a recording, look at the map, keep directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vlascope.directions import Direction, Subspace
    from vlascope.store import ActivationStore
    from vlascope_probes.evidence import Evidence
    from vlascope_probes.linear.options import ProbeOptions
    from vlascope_probes.linear.results import ProbeMap

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="What can be read off activations, linearly."
)

_Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="One policy's run (RUN/POLICY), or its activations.")
]
_File = Annotated[Path, typer.Argument(metavar="FILE", help="What `probes fit` wrote.")]
_Points = Annotated[list[str], typer.Option(help="Globs of hook points; may be repeated.")]
_Targets = Annotated[list[str], typer.Option(help="Targets or globs; may be repeated.")]
_Tokens = Annotated[list[str] | None, typer.Option(help="Globs of token spans; all by default.")]
_Pool = Annotated[str, typer.Option(help="mean, last, max, or none for a row per token.")]
_Call = Annotated[int, typer.Option(help="Call of a chunk; -1 is the last.")]
_Folds = Annotated[int, typer.Option(min=2, help="Folds of whole episodes.")]
_Names = Annotated[
    list[str] | None, typer.Option("--action", help="Names of action dimensions, in order.")
]
_Arms = Annotated[
    list[str] | None, typer.Option("--arm", help="Only episodes of these arms; may be repeated.")
]
_Json = Annotated[bool, typer.Option("--json", help="Machine-readable.")]


@app.command()
def fit(
    run: _Run,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    points: _Points = ["*.resid_post"],  # noqa: B006
    targets: _Targets = ["action.*", "hand.*", "task", "phase"],  # noqa: B006
    tokens: _Tokens = None,
    pool: _Pool = "mean",
    call: _Call = -1,
    folds: _Folds = 5,
    controls: Annotated[int, typer.Option(min=1, help="Label shuffles of numbers.")] = 19,
    label_controls: Annotated[int, typer.Option(min=1, help="Label shuffles of labels.")] = 5,
    action: _Names = None,
    arm: _Arms = None,
) -> None:
    """Fit every target at every point, with controls, and write the map.

    Examples:

        vlascope probes fit runs/demo/tinyvla --points 'vlm.*' --targets task --out p.json

        vlascope probes fit runs/demo/tinyvla --targets success --targets 'hand.*' --out p.json
    """
    from vlascope.store.durable import write_atomically
    from vlascope_probes.linear.fitting import fit_map

    store, evidence = _opened(run, arm)
    options = _options(targets, tokens, pool, call, folds)
    options = options.model_copy(update={"controls": controls, "label_controls": label_controls})
    found = fit_map(store, evidence, points, options, action_names=action, say=typer.echo)
    write_atomically(out, found.model_dump_json(indent=1).encode())
    for flag in found.flagged():
        typer.echo(f"note: {flag}")
    for name, why in found.skipped.items():
        typer.echo(f"not probed: {name} {why}")
    typer.echo(f"{out}: {len(found.scores)} probes; `vlascope probes map {out}` shows them")


@app.command("map")
def map_(file: _File, as_json: _Json = False) -> None:
    """Score by layer and target.

    Example:

        vlascope probes map probes.json
    """
    from rich.console import Console
    from rich.table import Table

    found = _read(file)
    if as_json:
        typer.echo(json.dumps(found.table(), indent=1))
        return
    table = Table(title=f"{file}: score (control), {found.episodes} episodes", title_justify="left")
    for column in ("hook point", *found.targets):
        table.add_column(column, overflow="fold")
    for point in found.points:
        cells = [found.at(point, target) for target in found.targets]
        shown = ["" if s is None else f"{s.score.value:.2f} ({s.control:.2f})" for s in cells]
        table.add_row(point, *shown)
    Console().print(table)


@app.command()
def show(
    file: _File,
    target: Annotated[str, typer.Option(help="One target.")],
    as_json: _Json = False,
) -> None:
    """Everything about one target: intervals, controls, raw state, held-out tasks, flags.

    Example:

        vlascope probes show probes.json --target task
    """
    from vlascope.errors import unknown_name

    found = _read(file)
    if target not in found.targets:
        raise unknown_name("probed target", target, found.targets)
    rows = [row for row in found.table() if row["target"] == target]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        low, high = row["low"], row["high"]
        interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
        typer.echo(
            f"{row['point']}: {row['metric']} {row['score']:.3f}{interval}, n = {row['episodes']} "
            f"episodes, control {row['control']:.3f}, p = {row['p']:.3g}"
            + _also("raw state", row["raw_state"])
            + _also("held-out tasks", row["held_out_tasks"])
            + _also("AUC", row["auc"])
        )
        for flag in row["flags"]:
            typer.echo(f"  note: {flag}")


@app.command()
def directions(
    run: _Run,
    target: Annotated[list[str], typer.Option(help="One target, or numbers taken together.")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")],
    points: _Points = ["*.resid_post"],  # noqa: B006
    tokens: _Tokens = None,
    pool: _Pool = "mean",
    call: _Call = -1,
    folds: _Folds = 5,
    action: _Names = None,
    arm: _Arms = None,
    as_json: _Json = False,
) -> None:
    """Keep what probes read, to steer along or project out, and test the projection.

    Example:

        vlascope probes directions runs/demo/tinyvla --target task --out task.safetensors
    """
    from vlascope.directions import save_directions
    from vlascope.hooks import match_points
    from vlascope_probes.linear.fitting import features_at
    from vlascope_probes.linear.removal import span_of
    from vlascope_probes.linear.targets import catalogue, chosen

    store, evidence = _opened(run, arm)
    options = _options(target, tokens, pool, call, folds)
    wanted, _ = chosen(catalogue(evidence, action), options.targets)
    name = target[0] if len(target) == 1 else "+".join(target)
    spans = [
        span_of(features_at(store, p, evidence, options), str(p), wanted, options, name=name)
        for p in match_points(points, store.points, f"the store {store.path}")
    ]
    items: list[Direction | Subspace] = []
    for span in spans:
        items += [span.subspace, span.random, *span.directions]
    save_directions(out, items, {"store": str(store.path), "targets": [t.name for t in wanted]})
    if as_json:
        typer.echo(json.dumps([s.removal.model_dump() for s in spans], indent=1))
        return
    for r in (s.removal for s in spans):
        typer.echo(
            f"{r.point}: {r.dimensions} dimensions; R² {r.before:.3f}, {r.after:.3f} without, "
            f"{r.random:.3f} without as many random ones"
        )
    typer.echo(f"{out}: {len(items)} directions and subspaces")


def _opened(run: Path, arms: list[str] | None) -> tuple[ActivationStore, dict[str, Evidence]]:
    from vlascope.errors import unknown_name
    from vlascope.rollout.job import ACTIVATIONS
    from vlascope.store import ActivationStore
    from vlascope_probes.evidence import read_evidence

    folder = run.parent if run.name == ACTIVATIONS else run
    evidence = read_evidence(folder)
    known = {e.record.plan.arm for e in evidence.values()}
    for arm in arms or ():
        if arm not in known:
            raise unknown_name("arm", arm, known)
    store = ActivationStore.open(folder / ACTIVATIONS)
    kept = {
        n: e for n, e in evidence.items() if n in store and (not arms or e.record.plan.arm in arms)
    }
    return store, kept


def _options(
    targets: list[str], tokens: list[str] | None, pool: str, call: int, folds: int
) -> ProbeOptions:
    from vlascope.errors import unknown_name
    from vlascope_probes.linear.options import ProbeOptions

    pools = ("mean", "last", "max", "none")
    if pool not in pools:
        raise unknown_name("way to pool", pool, pools)
    spans = None if tokens is None else tuple(tokens)
    return ProbeOptions.model_validate(
        {"targets": tuple(targets), "tokens": spans, "pool": pool, "call": call, "folds": folds}
    )


def _read(file: Path) -> ProbeMap:
    from vlascope_probes.linear.results import read_map

    return read_map(file)


def _also(what: str, value: float | None) -> str:
    return "" if value is None else f", {what} {value:.3f}"
