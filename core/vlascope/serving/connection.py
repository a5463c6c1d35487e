"""A client's side of the websocket."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NoReturn

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import ClientConnection, connect

from vlascope import errors
from vlascope.errors import InvalidName, ServerLost, VlascopeError
from vlascope.serving.describing import OURS
from vlascope.serving.wire import pack, unpack

__all__ = ["Connection"]

_PAUSE = 1.0
"""Seconds between two tries to connect."""


class Connection:
    """An open connection to a policy server.

    Args:
        address: `ws://HOST:PORT`.
        api_key: what the server wants to see.
        wait: seconds to keep trying while nobody listens there.

    Attributes:
        metadata: what the server said first.

    Raises:
        ServerLost: nobody answers, or turns us away.
        InvalidName: that is no address.
    """

    def __init__(self, address: str, *, api_key: str | None = None, wait: float = 0.0) -> None:
        self.address = address
        self._closing = ExitStack()
        self._socket = _connected(address, api_key, wait, self._closing)
        try:
            self.metadata: dict[str, Any] = unpack(self._received())
        except BaseException:
            self.close()
            raise

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request, one answer.

        Raises:
            ServerLost: the server went away, or ended the connection with an error.
        """
        data = pack(request)
        try:
            self._socket.send(data)
        except ConnectionClosed as error:
            raise self._lost(error) from error
        return unpack(self._received())

    def ask_ours(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A request that only a vlascope server understands.

        Raises:
            VlascopeError: what the server raised, as the same kind of error.
        """
        answer = self.ask({OURS: dict(request)})
        if "error" in answer:
            _raise(self.address, **answer["error"])
        return answer

    def close(self) -> None:
        """End the connection; twice is fine."""
        self._closing.close()

    def _received(self) -> bytes:
        try:
            answer = self._socket.recv()
        except ConnectionClosed as error:
            raise self._lost(error) from error
        if isinstance(answer, str):
            raise ServerLost(f"the policy server at {self.address} ended with an error: {answer}")
        return answer

    def _lost(self, error: ConnectionClosed) -> ServerLost:
        return ServerLost(
            f"the policy server at {self.address} went away ({error}); start it and run again: "
            "what was finished is kept"
        )


def _connected(
    address: str, api_key: str | None, wait: float, closing: ExitStack
) -> ClientConnection:
    headers = None if api_key is None else {"Authorization": f"Api-Key {api_key}"}
    deadline = time.monotonic() + wait
    while True:
        try:
            return closing.enter_context(
                connect(
                    address, compression=None, max_size=None, additional_headers=headers, proxy=None
                )
            )
        except InvalidURI as error:
            raise InvalidName(f"{address!r} is no address; write ws://HOST:PORT") from error
        except InvalidHandshake as error:
            raise ServerLost(
                f"{address} does not let us in: {error} (a key is given as api_key)"
            ) from error
        except OSError as error:
            if time.monotonic() >= deadline:
                raise ServerLost(
                    f"no policy server answers at {address}: {error}; start one with "
                    "`vlascope serve`, or wait longer (wait=SECONDS)"
                ) from error
            time.sleep(_PAUSE)


def _raise(address: str, *, kind: str, message: str) -> NoReturn:
    """The server's error here; its own class where that is ours."""
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, VlascopeError):
        raise found(f"{message} (says the server at {address})")
    if kind in ("ValueError", "ValidationError"):
        raise ValueError(f"{message} (says the server at {address})")
    raise VlascopeError(f"the server at {address} failed: {kind}: {message}")
