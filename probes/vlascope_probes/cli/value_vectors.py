"""`vlascope value-vectors`: what a policy's FFN neurons write, in words."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from vlascope_probes.value_vectors import Cluster, Speech

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Read FFN neurons in words (arXiv 2509.00328)."
)

_Name = Annotated[str, typer.Argument(help="A registered adapter.")]
_Checkpoint = Annotated[
    str, typer.Option(help="A hub id, a folder, a bundled name, or tiny (tiny-SEED).")
]
_Json = Annotated[bool, typer.Option("--json", help="Machine-readable.")]


@app.command()
def table(
    name: _Name,
    checkpoint: _Checkpoint = "tiny",
    layer: Annotated[list[int] | None, typer.Option(help="Only these; may be repeated.")] = None,
    word: Annotated[str | None, typer.Option(help="Neurons that write this word.")] = None,
    neurons: Annotated[int, typer.Option("-n", min=1, help="How many neurons.")] = 20,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens a neuron.")] = 10,
    as_json: _Json = False,
) -> None:
    """The tokens that neurons write most strongly; bins of actions are shown as values.

    Examples:

        vlascope value-vectors table tinyvla --checkpoint adverbs --word slow

        vlascope value-vectors table toy --layer 0 --json
    """
    from vlascope.errors import UnknownName
    from vlascope_probes.value_vectors.tables import token_rows

    speech = _speech(name, checkpoint, tokens)
    layers = list(range(speech.depth)) if layer is None else layer
    if outside := [at for at in layers if not 0 <= at < speech.depth]:
        raise UnknownName(
            f"{name} has layers 0..{speech.depth - 1} of words; there is no {outside}"
        )
    rows = token_rows(speech, layers, word=word, neurons=neurons)
    if as_json:
        typer.echo(json.dumps({"schema": "vlascope.value_vectors/1", "neurons": rows}, indent=1))
        return
    shown = [
        (
            f"{row['layer']}.{row['neuron']}",
            f"{row['norm']:.2f}",
            ", ".join(f"{t['token']} {t['logit']:.2f}" for t in row["tokens"]),
        )
        for row in rows
    ]
    _print(("neuron", "norm", "tokens and logits"), shown)


@app.command()
def cluster(
    name: _Name,
    words: Annotated[list[str], typer.Argument(help="Words such as fast, slow, up, down.")],
    checkpoint: _Checkpoint = "tiny",
    size: Annotated[int, typer.Option(min=1, help="Neurons in a cluster: 10, 20, 40.")] = 20,
    depth: Annotated[Literal["early", "late", "full"], typer.Option(help="Which layers.")] = "full",
    rotations: Annotated[
        int, typer.Option(min=0, help="Random rotations to set each cluster against.")
    ] = 0,
    as_json: _Json = False,
) -> None:
    """The neurons that write alike and are nearest to a word.

    Examples:

        vlascope value-vectors cluster tinyvla fast slow --checkpoint adverbs --rotations 99

        vlascope value-vectors cluster tinyvla up down --checkpoint adverbs --size 10 --depth late
    """
    from vlascope_probes.value_vectors import cluster_strength, find_cluster, layers_of
    from vlascope_probes.value_vectors.tables import cluster_rows

    speech = _speech(name, checkpoint, 10)
    within = layers_of(depth, speech.depth)
    layers = [speech.layers[at] for at in within]
    found: dict[str, dict[str, Cluster]] = {
        w: {depth: find_cluster(layers, speech.vocabulary, w, size=size)} for w in words
    }
    strengths = {
        w: cluster_strength(
            speech.vectors, within, speech.vocabulary, w, size=size, rotations=rotations
        )
        for w in words
        if rotations
    }
    rows = cluster_rows(speech, found, strengths)
    if as_json:
        typer.echo(json.dumps({"schema": "vlascope.value_clusters/1", "clusters": rows}, indent=1))
        return
    shown = [
        (
            row["concept"],
            f"{row['score']:.2f}",
            "" if row["p"] is None else f"{row['p']:.3f}",
            "; ".join(f"{at}: {' '.join(map(str, n))}" for at, n in row["neurons"].items()),
            ", ".join(row["tokens"]),
        )
        for row in rows
    ]
    _print(("word", "cosine", "p", "neurons by layer", "tokens"), shown)


@app.command()
def share(name: _Name, checkpoint: _Checkpoint = "tiny", as_json: _Json = False) -> None:
    """How much of what neurons write is actions, by layer.

    Example:

        vlascope value-vectors share toy
    """
    from vlascope_probes.value_vectors import share_of_actions

    shares = share_of_actions(_speech(name, checkpoint, 10))
    if as_json:
        rows = [{**vars(s), "first": s.first.model_dump()} for s in shares]
        typer.echo(json.dumps({"schema": "vlascope.value_shares/1", "layers": rows}, indent=1))
        return
    shown = [
        (
            str(s.layer),
            str(s.neurons),
            *(f"{value:.3f}" for value in (s.actions, s.words, s.special)),
            f"{s.first.value or 0:.3f} ({s.first.low or 0:.3f} to {s.first.high or 0:.3f})",
            f"{s.chance:.4f}",
        )
        for s in shares
    ]
    columns = ("layer", "neurons", "actions", "words", "special", "first is action", "chance")
    _print(columns, shown)


def _speech(name: str, checkpoint: str, k: int) -> Speech:
    from vlascope.loading import load
    from vlascope_probes.value_vectors import speech_of

    with contextlib.redirect_stdout(sys.stderr):  # what upstream prints while loading
        return speech_of(load(name, checkpoint), k=k)


def _print(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(*columns)
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)
