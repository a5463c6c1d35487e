"""`vlascope serve`: a policy behind a websocket."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer()


@app.command()
def serve(
    policy: Annotated[str, typer.Option(metavar="ADAPTER:CHECKPOINT", help="Which policy.")],
    port: Annotated[int, typer.Option(min=0, help="0 for any that is free.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Who may connect: this machine, or with 0.0.0.0 everyone.")
    ] = "127.0.0.1",
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=NAME", help="Camera, state or prompt under openpi's key."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="VLASCOPE_API_KEY", help="What clients must send; none without it."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the noise of plain clients.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="What else from_pretrained takes."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the policy runs.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="Of its weights.")] = "float32",
) -> None:
    """Serve a policy to openpi's clients, and to `vlascope` itself as the policy `remote`.

    Whoever may connect can have the policy edited and files of this machine read as sources of
    edits: leave it on this machine, or set an API key and tunnel.

    Examples:

        vlascope serve --policy toy:bundled --port 8000

        vlascope serve --policy ADAPTER:CHECKPOINT --device cuda --dtype bfloat16
        --key observation/image=agentview --host 0.0.0.0
    """
    from vlascope.cli.record import options_of, pairs_of
    from vlascope.errors import CapabilityMissing
    from vlascope.loading import load

    try:
        from vlascope.serving import PolicyServer
    except ImportError as error:
        raise CapabilityMissing(f"{error}: pip install 'vlascope[serve]'") from error
    adapter, _, checkpoint = policy.partition(":")
    loaded = load(adapter, checkpoint or "tiny", device=device, dtype=dtype, **options_of(option))
    server = PolicyServer(loaded, keys=pairs_of("--key", key), seed=seed, api_key=api_key)
    try:
        server.serve_forever(host, port, lambda at: typer.echo(f"{policy} is served at {at}"))
    except KeyboardInterrupt:
        typer.echo("stopped")
