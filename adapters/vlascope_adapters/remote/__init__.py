"""Policies that run behind a websocket, in another process or on another machine."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_adapters"]


@hookimpl
def register_adapters(register: Register) -> None:
    """Offer it under the name `remote`; the checkpoint is the address."""
    register(
        "remote",
        "vlascope_adapters.remote.adapter:RemoteAdapter",
        summary="a policy behind ws://HOST:PORT: of `vlascope serve`, or of openpi's server",
    )
