"""`vlascope describe`: what a policy is made of, and what its places are called."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Annotated, Any

import typer

from vlascope import plugins

__all__ = ["app"]

app = typer.Typer()


@app.command()
def describe(
    name: Annotated[str, typer.Argument(help="A registered adapter, or a named checkpoint.")],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="A hub id, a folder, a bundled name, or tiny (tiny-SEED): random weights. "
            "Default: tiny."
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="What else its from_pretrained takes."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where it is loaded.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="Of the weights.")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """What a policy is made of: pathways, hook points, tokens, parameters, what its numbers mean.

    Examples:

        vlascope describe toy

        vlascope describe toy --checkpoint bundled --json

        vlascope describe NAME --checkpoint OWNER/POLICY --dtype bfloat16 --option revision=main
    """
    from vlascope.anatomy import draw, look
    from vlascope.loading import load

    given = dict(_option(text) for text in options or ())
    with contextlib.redirect_stdout(sys.stderr):  # what upstream prints while loading
        anatomy = look(load(name, checkpoint, device=device, dtype=dtype, **given))
    if as_json:
        typer.echo(json.dumps(anatomy.as_json(), indent=1))
    else:
        found = {**plugins.adapters(), **plugins.checkpoints()}
        draw(anatomy, found[name].summary if name in found else "")


def _option(text: str) -> tuple[str, Any]:
    """`key=value`, the value read as YAML, as in study files."""
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise typer.BadParameter(f"--option is KEY=VALUE; got {text!r}")
    if key in ("adapter", "checkpoint", "device", "dtype"):
        raise typer.BadParameter(f"{key} has a place of its own; see --help")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise typer.BadParameter(f"{value!r} of {key} is not YAML") from error
