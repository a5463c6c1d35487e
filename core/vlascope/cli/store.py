"""`vlascope store`: what an activation store holds, and whether it is whole."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Look into an activation store, or verify it."
)

_Folder = Annotated[Path, typer.Argument(help="The store, usually RUN/activations.")]


@app.command()
def info(
    folder: _Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """What a store holds: policy, episodes, hook points, rows and size.

    Example:

        vlascope store info runs/demo/activations
    """
    from vlascope.store import ActivationStore

    store = ActivationStore.open(folder)
    rows: Counter[str] = Counter()
    kinds: dict[str, str] = {}
    for unit in store.units:
        for point, entry in unit.points.items():
            rows[point] += entry.rows
            kinds[point] = f"{entry.dtype} x {entry.width}"
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    episodes = store.episodes()
    if as_json:
        found = {
            "provenance": store.provenance.model_dump(mode="json"),
            "episodes": len(episodes),
            "tasks": sorted({str(labels.get("task", "")) for labels in episodes.values()}),
            "rows": dict(rows),
            "bytes": size,
        }
        typer.echo(json.dumps(found, indent=2))
        return
    about = store.provenance
    typer.echo(
        f"{folder}: {about.adapter} ({about.checkpoint}), {about.benchmark or 'no benchmark'}"
    )
    typer.echo(f"{len(episodes)} episodes in {len(store.units)} units, {size / 1e6:.1f} MB")
    for name in map(str, store.points):
        typer.echo(f"  {name}  {rows[name]} rows of {kinds[name]}")


@app.command()
def verify(
    folder: _Folder,
    drop_broken: Annotated[
        bool, typer.Option("--drop-broken", help="Set broken units aside as NAME.broken.")
    ] = False,
) -> None:
    """Read every unit whole and compare it with its checksums; status 1 where one is broken.

    Example:

        vlascope store verify runs/demo/activations --drop-broken
    """
    from vlascope.store.verify import verify_store

    broken = list(verify_store(folder, drop_broken=drop_broken))
    for unit in broken:
        typer.echo(
            f"BROKEN {unit.reason}" + (f"; set aside as {unit.moved_to}" if unit.moved_to else "")
        )
    if not broken:
        typer.echo(f"{folder}: every unit is whole")
    elif drop_broken:
        typer.echo(
            "run the recording again: episodes whose activations are missing are played again"
        )
    raise typer.Exit(1 if broken else 0)


@app.command()
def index(folder: _Folder) -> None:
    """Write index.parquet, one row per unit and hook point, for tools that read tables."""
    from vlascope.store import ActivationStore
    from vlascope.store.index import rebuild_index

    typer.echo(str(rebuild_index(ActivationStore.open(folder))))
