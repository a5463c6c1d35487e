"""`vlascope record`: activations of a policy on episodes that were recorded before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["app", "options_of", "pairs_of"]

app = typer.Typer()


@app.command()
def record(
    policy: Annotated[str, typer.Option(metavar="ADAPTER:CHECKPOINT", help="Which policy.")],
    dataset: Annotated[
        str, typer.Option(metavar="FOLDER|ID", help="A run's folder, or a dataset's, or an id.")
    ],
    at: Annotated[list[str], typer.Option(metavar="GLOB", help="Hook points; may be repeated.")],
    out: Annotated[Path, typer.Option(help="The folder of the activation store.")],
    camera: Annotated[
        list[str] | None,
        typer.Option(metavar="FEATURE=CAMERA", help="Which picture is which camera."),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FEATURE[A:B]=STREAM", help="Which numbers are which state; [A:B] optional."
        ),
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Scale pictures to the policy's size.")
    ] = False,
    calls: Annotated[
        list[int] | None, typer.Option(help="Only this call of a chunk; may be repeated.")
    ] = None,
    tokens: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Only tokens of these spans.")
    ] = None,
    pool: Annotated[str, typer.Option(help="none, mean, last or max over tokens.")] = "none",
    keep_as: Annotated[
        str | None, typer.Option(help="float16, bfloat16 or float32; as computed without it.")
    ] = None,
    episodes: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Only episodes of these names.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Steps between looks; the policy's own without it.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Frames per inference; 1 is exact.")] = 8,
    kind: Annotated[
        str | None, typer.Option("--format", help="The dataset's format, where it is not plain.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="What else the format's reader takes."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the policy runs.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="Of its weights.")] = "float32",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Show recorded episodes to a policy and keep what it computes, without acting.

    The policy looks as often as it would in a rollout. One episode is one unit of the store:
    interrupted and called again, it records what is missing. `vlascope list datasets` shows the
    formats that are known.

    Examples:

        vlascope record --policy toy:bundled --dataset runs/demo --at 'vlm.*.resid_post'
        --out replayed

        vlascope record --policy ADAPTER:CHECKPOINT --dataset OWNER/NAME --at 'vlm.*.resid_post'
        --camera observation.images.image=agentview --state 'observation.state[0:8]=robot'
        --pool mean --keep-as float16 --out replayed
    """
    from pydantic import ValidationError

    from vlascope.loading import load
    from vlascope.recording import RecordSpec
    from vlascope.replay import open_dataset, record_dataset

    fields = {"at": at, "calls": calls, "tokens": tokens, "pool": pool, "dtype": keep_as}
    try:
        spec = RecordSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{first['loc'][0]}: {first['msg']}") from error
    adapter, _, checkpoint = policy.partition(":")
    with open_dataset(dataset, kind=kind, **options_of(option)) as found:
        loaded = load(adapter, checkpoint or "tiny", device=device, dtype=dtype)
        store = record_dataset(
            loaded,
            found,
            out,
            spec,
            cameras=pairs_of("--camera", camera),
            states=pairs_of("--state", state),
            resize=resize,
            stride=stride,
            batch=batch,
            episodes=episodes,
            progress=not quiet,
        )
    typer.echo(f"{out}: {len(store.episodes())} episodes, {len(store.points)} hook points")


def pairs_of(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """`FEATURE=NAME` by feature."""
    found: dict[str, str] = {}
    for text in given or ():
        feature, equals, name = text.rpartition("=")
        if not (feature and equals and name):
            raise typer.BadParameter(f"{option} is FEATURE=NAME; got {text!r}")
        if feature in found:
            raise typer.BadParameter(f"{option} names {feature!r} twice")
        found[feature] = name
    return found


def options_of(given: Sequence[str] | None) -> dict[str, Any]:
    """`KEY=VALUE` by key, the value read as YAML."""
    import yaml

    found: dict[str, Any] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise typer.BadParameter(f"--option is KEY=VALUE; got {text!r}")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise typer.BadParameter(f"{value!r} of {key} is not YAML") from error
    return found
