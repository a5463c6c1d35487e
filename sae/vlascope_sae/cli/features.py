"""`vlascope features`: what the features of an autoencoder do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from vlascope_sae.features import FeatureIndex, GeneralFit

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Index, look at, label and classify features."
)

_Index = Annotated[Path, typer.Argument(metavar="INDEX", help="What `features index` wrote.")]
_Feature = Annotated[int, typer.Argument(help="The feature's number.")]
_Json = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
_Fit = Annotated[
    str | None,
    typer.Option(help="The published fit behind P(general); by default the first printed."),
]


@app.command()
def index(
    sae: Annotated[Path, typer.Argument(help="The autoencoder's folder.")],
    store: Annotated[Path, typer.Argument(help="The store, usually RUN/activations.")],
    out: Annotated[Path, typer.Option(help="The folder to write; must not exist.")],
    point: Annotated[
        str | None, typer.Option(help="Hook point; by default the one it was trained at.")
    ] = None,
    top_k: Annotated[int, typer.Option(help="Moments kept per feature.")] = 16,
    device: Annotated[str, typer.Option(help="Where to encode.")] = "cpu",
) -> None:
    """Read a store once and write what every feature did, in memory that does not grow with it.

    Tokens, calls and pooling are those the autoencoder was trained on.

    Example:

        vlascope features index sae runs/demo/activations --out runs/demo/features
    """
    from vlascope.store import ActivationStore
    from vlascope_sae.features.trained import index_trained
    from vlascope_sae.files import load_sae

    trained, opened = load_sae(sae, device=device), ActivationStore.open(store)
    path = index_trained(trained, opened, out, point=point, top_k=top_k, sae_path=str(sae))
    about = _open(path).manifest
    typer.echo(
        f"{path}: {about.features - about.dead} of {about.features} features fire in "
        f"{about.rows} rows of {about.episodes} episodes"
    )


@app.command()
def top(
    folder: _Index,
    by: Annotated[str, typer.Option(help="p_general, firing_rate, max, coverage, ...")] = "max",
    n: Annotated[int, typer.Option("-n", help="How many.")] = 20,
    fit: _Fit = None,
    as_json: _Json = False,
) -> None:
    """The features with the most of something, each with P(general) and its firing rate.

    Example:

        vlascope features top runs/demo/features --by p_general -n 10
    """
    from vlascope_sae.features.showing import ranked

    found = ranked(_open(folder), _fit(fit)[1], by, n)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _table(f"features of {folder}, by {by}", found)


@app.command()
def show(
    folder: _Index,
    feature: _Feature,
    sae: Annotated[
        Path | None, typer.Option(help="The autoencoder; by default where it lay.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="The run whose film strips to show.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write the contact sheet here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it as one page here.")] = None,
    stream: Annotated[
        str | None, typer.Option(help="The image stream the pictures show, for the heat.")
    ] = None,
    heat: Annotated[bool, typer.Option(help="Lay the feature over the pictures.")] = True,
    window: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            metavar="ROW COLUMN SIDE", help="The square of the picture that the policy looks at."
        ),
    ] = None,
    fit: _Fit = None,
    as_json: _Json = False,
) -> None:
    """Everything about one feature; with a run, the pictures of its strongest moments.

    Example:

        vlascope features show runs/demo/features 12 --run runs/demo --html 12.html
    """
    from vlascope_sae.features.showing import shown
    from vlascope_sae.features.trained import indexed_sae, write_sheet

    opened = _open(folder)
    autoencoder = indexed_sae(opened, sae)
    name, coefficients = _fit(fit)
    found = shown(opened, feature, coefficients, autoencoder)
    if png or html:
        about = f"P(general) = {_cell(found['p_general'])} ({name})"
        written = write_sheet(
            opened,
            feature,
            run,
            autoencoder if heat else None,
            png=png,
            html=html,
            stream=stream,
            window=window,
            about=about,
        )
        found["sheets"] = [str(path) for path in written]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    lists = [key for key, value in found.items() if isinstance(value, list)]
    _facts(f"feature {feature}", {k: v for k, v in found.items() if k not in lists})
    for key in lists:
        if found[key] and isinstance(found[key][0], dict):
            _table(key.replace("_", " "), found[key])
    for path in found.get("sheets", ()):
        typer.echo(path)


@app.command()
def label(
    folder: _Index,
    feature: _Feature,
    general: Annotated[
        bool | None, typer.Option("--general/--memorised", help="What it is, in your eyes.")
    ] = None,
    words: Annotated[str | None, typer.Option(help="What it stands for.")] = None,
) -> None:
    """Say of a feature whether it is general, and what it stands for; kept beside the index.

    Example:

        vlascope features label runs/demo/features 12 --general --words "gripper closes"
    """
    from vlascope_sae.features import FeatureLabel, FeatureLabels

    opened = _open(folder)
    opened.top(feature)
    labels = FeatureLabels.of(opened)
    before = labels.labels.get(feature, FeatureLabel())
    now = FeatureLabel(
        general=before.general if general is None else general,
        words=before.words if words is None else words,
    )
    path = labels.with_label(feature, now).save(opened)
    kind = {True: "general", False: "memorised", None: "undecided"}[now.general]
    typer.echo(f"{path}: feature {feature} is {kind}" + (f": {now.words}" if now.words else ""))


@app.command()
def classify(
    folder: _Index,
    fit: _Fit = None,
    refit: Annotated[bool, typer.Option("--refit", help="Fit to your own labels first.")] = False,
    n: Annotated[int, typer.Option("-n", help="Features listed, most general first.")] = 20,
    as_json: _Json = False,
) -> None:
    """General or memorised, beside the firing rate and how well that alone would separate them.

    Example:

        vlascope features classify runs/demo/features --refit
    """
    from vlascope_sae.features import FeatureLabels, refit_on_labels
    from vlascope_sae.features import classify as classified

    opened, fitted = _open(folder), None
    name, coefficients = _fit(fit)
    if refit:
        fitted = refit_on_labels(opened, FeatureLabels.of(opened))
        name, coefficients = "labels", fitted.fit
    found = classified(opened, coefficients, name).model_dump(mode="json")
    found["refit"] = None if fitted is None else fitted.model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    best = sorted(found.pop("features"), key=lambda f: -f["p_general"])[:n]
    _table(f"features of {folder}, fit: {name}", best)
    summary = {k: v for k, v in found.items() if k not in ("fit", "refit")}
    _facts("in all", summary)
    if fitted is not None:
        _facts("refit", fitted.model_dump(exclude={"fit"}))


def _open(folder: Path) -> FeatureIndex:
    from vlascope_sae.features import FeatureIndex

    return FeatureIndex.open(folder)


def _fit(name: str | None) -> tuple[str, GeneralFit]:
    """A published fit, the first by default."""
    from vlascope_sae.features import published_fits

    return next(iter(published_fits(name).items()))


def _table(title: str, rows: list[dict[str, Any]]) -> None:
    """One row each, without columns that are empty; a name takes a line for each of its words."""
    table = _blank()
    names = [name for name in (rows[0] if rows else ()) if any(row[name] != "" for row in rows)]
    for name in names:
        words = name.split("_")
        table.add_column(" ".join(words), overflow="fold", min_width=max(map(len, words)))
    for row in rows:
        table.add_row(*(_cell(value) for value in (row[name] for name in names)))
    _print(title, table)


def _facts(title: str, facts: dict[str, Any]) -> None:
    """One line each."""
    table = _blank()
    table.show_header = False
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), _cell(value))
    _print(title, table)


def _blank() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _print(title: str, table: Table) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    console.print(f"[bold]{escape(title)}[/]", highlight=False)
    console.print(table)


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return "–"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.3g}" if isinstance(value, float) else escape(str(value))
