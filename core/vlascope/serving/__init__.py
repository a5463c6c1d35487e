"""A policy behind a websocket: acted with, recorded and edited from another process."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlascope.serving.connection import Connection as Connection
    from vlascope.serving.server import PolicyServer as PolicyServer

_HOMES = {"Connection": "connection", "PolicyServer": "server"}

__all__ = ["Connection", "PolicyServer"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vlascope.serving' has no attribute {name!r}")
    return getattr(import_module(f"vlascope.serving.{_HOMES[name]}"), name)
