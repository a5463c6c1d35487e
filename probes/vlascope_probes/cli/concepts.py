"""`vlascope concepts`: what they mean in a run, where they are, which features they have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vlascope.sections import Table
    from vlascope.store import ActivationStore
    from vlascope_probes.concepts.scene import Episode
    from vlascope_probes.concepts.vocabulary import Vocabulary

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Concepts: what they mean, where they can be read, which features stand for them.",
)

_Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of one policy's run.")]
_Mine = Annotated[
    list[Path] | None, typer.Option("--concepts", help="A vocabulary of your own; may be repeated.")
]
_Only = Annotated[
    list[str] | None, typer.Option("--only", help="Just this concept; may be repeated.")
]
_Json = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
_Arm = Annotated[str, typer.Option(help="Whose episodes: a glob over arms.")]
_Draws = Annotated[int, typer.Option(help="Draws of the null.", min=19)]
_Fdr = Annotated[float, typer.Option(help="False discovery rate.", min=0.0, max=1.0)]


@app.command("list")
def list_(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Ask the concepts of this run.")
    ] = None,
    concepts: _Mine = None,
    arm: _Arm = "*",
    as_json: _Json = False,
) -> None:
    """Every concept; with a run, at how many moments it holds, or why it says nothing there.

    Examples:

        vlascope concepts list

        vlascope concepts list runs/demo/tinyvla --concepts mine.yaml
    """
    from vlascope_probes.concepts import label
    from vlascope_probes.concepts.showing import standing_rows

    vocabulary = _vocabulary(concepts)
    labels = None if run is None else label(vocabulary, _episodes(run, arm))
    rows = standing_rows(vocabulary, labels)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    _table(f"{len(rows)} concepts", list(rows[0]), [tuple(row.values()) for row in rows])


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="CONCEPT", help="Its name.")],
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Where does it hold in this run?")
    ] = None,
    concepts: _Mine = None,
    arm: _Arm = "*",
    as_json: _Json = False,
) -> None:
    """One concept: how it is written, and in which steps of which episodes it holds.

    Example:

        vlascope concepts show approach runs/demo/tinyvla
    """
    from vlascope_probes.concepts import label

    vocabulary = _vocabulary(concepts)
    concept = vocabulary[name]
    found: dict[str, Any] = {
        "concept": name,
        "group": concept.group,
        "about": concept.about,
        "when": concept.written,
        "measure": concept.measure,
    }
    if run is not None:
        labels = label(vocabulary.among([name]), _episodes(run, arm), known=vocabulary)
        found["verdict"] = labels.standing[name].verdict
        found["steps"] = {
            episode: _stretches(truth.tolist())
            for episode, truth in labels.labelled[name].truth.items()
        }
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        if key != "steps":
            typer.echo(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
    for episode, stretches in found.get("steps", {}).items():
        typer.echo(f"  {episode}: {', '.join(stretches) or 'never'}")


@app.command()
def score(
    run: _Run,
    encoder: Annotated[Path, typer.Argument(help="A trained encoder (an autoencoder's folder).")],
    concepts: _Mine = None,
    only: _Only = None,
    arm: _Arm = "*",
    top: Annotated[int, typer.Option(help="Features kept per concept.", min=1)] = 5,
    permutations: _Draws = 1000,
    fdr: _Fdr = 0.05,
    out: Annotated[Path | None, typer.Option(help="Also write everything here, as JSON.")] = None,
    as_json: _Json = False,
) -> None:
    """Score an encoder's features for every concept, with intervals, a null and held-out tasks.

    Example:

        vlascope concepts score runs/demo/tinyvla saes/expert.3 --only grasp --out grasp.json
    """
    from dataclasses import replace

    from vlascope.encoders import open_encoder
    from vlascope.store import Where
    from vlascope_probes.concepts import score_features
    from vlascope_probes.concepts.showing import feature_table

    opened, vocabulary = open_encoder(encoder), _vocabulary(concepts)
    where = replace(Where(spans=opened.tokens, calls=opened.calls), episodes=(f"{arm}/*",))
    found = score_features(
        _store(run),
        opened,
        vocabulary,
        _episodes(run, arm),
        where=where,
        concepts=only or (),
        top=top,
        permutations=permutations,
        fdr=fdr,
    )
    _write(out, found.model_dump_json(indent=1))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    _show(feature_table(found, top))
    _left_out(found.left_out)


@app.command()
def overview(
    run: _Run,
    at: Annotated[list[str] | None, typer.Option(help="Hook points: globs.")] = None,
    tokens: Annotated[list[str] | None, typer.Option(help="Token spans: globs.")] = None,
    concepts: _Mine = None,
    only: _Only = None,
    arm: _Arm = "*",
    permutations: _Draws = 200,
    fdr: _Fdr = 0.05,
    directions: Annotated[
        Path | None, typer.Option(help="Save each concept's clearest direction to this file.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the heat maps here.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write everything here, as JSON.")] = None,
    as_json: _Json = False,
) -> None:
    """Which concepts exist at which layer of which pathway: differences of means, held out.

    Example:

        vlascope concepts overview runs/demo/tinyvla --at "vlm.*.resid_post" --html concepts.html
    """
    from vlascope.directions import save_directions
    from vlascope.store import Where
    from vlascope_probes.concepts import find_directions, places_of
    from vlascope_probes.concepts import overview as judged
    from vlascope_probes.concepts.showing import best_places, heat_maps, overview_table

    store, vocabulary, episodes = _store(run), _vocabulary(concepts), _episodes(run, arm)
    where = Where(episodes=(f"{arm}/*",))
    found = judged(
        store,
        vocabulary,
        episodes,
        places_of(store, at or ["*"], tokens or ["*"]),
        where=where,
        concepts=only or (),
        permutations=permutations,
        fdr=fdr,
        say=lambda line: typer.echo(line, err=True),
    )
    _write(out, found.model_dump_json(indent=1))
    if directions is not None:
        wanted = [(s.concept, (s.point, s.span)) for s in best_places(found) if s.stands]
        made = find_directions(store, vocabulary, episodes, wanted, where=where)
        provenance = {"store": str(store.path), **store.provenance.model_dump(mode="json")}
        typer.echo(f"{save_directions(directions, made, provenance)}: {len(made)} directions")
    if html is not None:
        _page(html, heat_maps(found))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    _show(overview_table(found))
    _left_out(found.left_out)


def _vocabulary(paths: list[Path] | None) -> Vocabulary:
    from vlascope_probes.concepts import load_vocabulary

    return load_vocabulary(*(paths or ()))


def _episodes(run: Path, arm: str) -> list[Episode]:
    from fnmatch import fnmatchcase

    from vlascope.errors import UnknownName
    from vlascope_probes.concepts import episodes_of
    from vlascope_probes.evidence import read_evidence

    evidence = read_evidence(run)
    kept = {n: e for n, e in evidence.items() if fnmatchcase(e.record.plan.arm, arm)}
    if not kept:
        arms = sorted({e.record.plan.arm for e in evidence.values()})
        raise UnknownName(f"no finished episode of {run} is of an arm {arm!r}; there are {arms}")
    return episodes_of(kept)


def _store(run: Path) -> ActivationStore:
    from vlascope.store import ActivationStore

    return ActivationStore.open(run / "activations")


def _stretches(truth: list[bool]) -> list[str]:
    """`3-7`, `12`: steps in a row at which it holds."""
    edges = [
        i
        for i in range(len(truth) + 1)
        if (i < len(truth) and truth[i]) != (i > 0 and truth[i - 1])
    ]
    return [
        str(start) if stop - start == 1 else f"{start}-{stop - 1}"
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
    ]


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        path.write_text(text + "\n")
        typer.echo(str(path), err=True)


def _page(path: Path, figures: list[Any]) -> None:
    """Interactive maps on one page."""
    import plotly.graph_objects as go

    parts = [
        go.Figure(f.plotly)
        .update_layout(title=f.title)
        .to_html(full_html=False, include_plotlyjs=not i)
        for i, f in enumerate(figures)
    ]
    path.write_text("<!doctype html><meta charset=utf-8><title>Concepts</title>" + "".join(parts))
    typer.echo(str(path), err=True)


def _left_out(reasons: dict[str, str]) -> None:
    by_reason: dict[str, list[str]] = {}
    for name, why in reasons.items():
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        typer.echo(f"{why}: {', '.join(names)}")


def _show(table: Table) -> None:
    _table(table.title, list(table.columns), list(table.rows))
    typer.echo(table.caption)


def _table(title: str, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Drawn

    drawn = Drawn(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=escape(title))
    for i, name in enumerate(columns):
        drawn.add_column(name.replace("_", " "), overflow="fold", no_wrap=i == 0)
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    Console().print(drawn)


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else escape(str(value))
