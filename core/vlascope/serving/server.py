"""Serving a policy: openpi's websocket protocol, and beyond it recording and intervening."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hmac import compare_digest
from http import HTTPStatus
from typing import Any

import torch
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from vlascope.adapter import VLAAdapter
from vlascope.errors import InvalidName, VlascopeError, unknown_name
from vlascope.hooks import Moment
from vlascope.noise import generator_for
from vlascope.serving.describing import OURS, Description, observation_from
from vlascope.serving.plain import PROMPT, observed
from vlascope.serving.wire import pack, unpack
from vlascope.serving.working import outcome_of, session_for
from vlascope.sessions import HookSession

__all__ = ["PolicyServer"]

_log = logging.getLogger(__name__)
_INTERNAL_ERROR = 1011


class PolicyServer:
    """One policy for any number of clients; inferences take turns.

    A plain openpi client sends an observation and gets the next chunk of actions. A vlascope
    client sends batches with their noise, and recorders and interventions to be at work in them.

    Args:
        adapter: the policy.
        keys: camera, state stream or `prompt` by the key that plain clients send it under.
        seed: decides the noise of plain clients, by connection and request.
        api_key: what clients must send as `Authorization: Api-Key ...`; None for no check.
    """

    def __init__(
        self,
        adapter: VLAAdapter,
        *,
        keys: Mapping[str, str] | None = None,
        seed: int = 0,
        api_key: str | None = None,
    ) -> None:
        info = adapter.info
        known = [*info.cameras, *info.state, PROMPT]
        for name in (keys or {}).values():
            if name not in known:
                raise unknown_name("camera, state stream or prompt", name, known)
        self.adapter = adapter
        self._keys, self._seed, self._api_key = dict(keys or {}), seed, api_key
        self._description = Description.of(adapter)
        self._turn = threading.Lock()

    @contextmanager
    def running(self, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
        """Serve in the background for as long as the block lasts; gives the address."""
        with self._listening(host, port) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"ws://{host}:{server.socket.getsockname()[1]}"
            finally:
                server.shutdown()
                thread.join()

    def serve_forever(
        self, host: str, port: int, ready: Callable[[str], None] = lambda _: None
    ) -> None:
        """Serve until interrupted; `ready` is told the address."""
        with self._listening(host, port) as server:
            ready(f"ws://{host}:{server.socket.getsockname()[1]}")
            server.serve_forever()

    def _listening(self, host: str, port: int) -> Server:
        return serve(
            self._handle,
            host,
            port,
            compression=None,
            max_size=None,
            process_request=self._admit,
        )

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer health checks, and turn away who has no key."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        sent = request.headers.get("Authorization", "")
        if self._api_key is not None and not compare_digest(sent, f"Api-Key {self._api_key}"):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong or missing API key\n")
        return None

    def _handle(self, connection: ServerConnection) -> None:
        """One client, from its first message to its last."""
        client = _Client(self.adapter, self._turn, self._keys, self._seed)
        try:
            connection.send(pack(self._description.metadata()))
            for data in connection:
                started = time.monotonic()
                try:
                    answer = client.answer(unpack(data if isinstance(data, bytes) else b""))
                except Exception as error:
                    _log.exception("a request of %s failed", connection.remote_address)
                    # openpi's clients take text for an error, and expect the end after it.
                    connection.send(f"{type(error).__name__}: {error}")
                    connection.close(_INTERNAL_ERROR, "the request failed")
                    return
                answer["server_timing"] = {"infer_ms": 1000 * (time.monotonic() - started)}
                connection.send(pack(answer))
        except ConnectionClosed:
            return


class _Client:
    """What is remembered of one connection."""

    def __init__(
        self, adapter: VLAAdapter, turn: threading.Lock, keys: Mapping[str, str], seed: int
    ) -> None:
        self._adapter, self._turn, self._keys, self._seed = adapter, turn, keys, seed
        self._sessions: dict[int, HookSession] = {}
        self._requests = 0

    def answer(self, request: Any) -> dict[str, Any]:
        """The answer to one message; what goes wrong with one of ours is in the answer."""
        if not isinstance(request, dict):
            raise InvalidName(f"a request is a map; got a {type(request).__name__}")
        if OURS not in request:
            return self._act(request)
        try:
            with self._turn:
                return self._ours(request[OURS])
        except Exception as error:
            self._sessions = {}  # what they hold of the failed inference is of no use
            if not isinstance(error, VlascopeError | ValueError):
                _log.exception("a request failed")
            return {"error": {"kind": type(error).__name__, "message": str(error)}}

    def _act(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A plain client's next chunk, (horizon, action_dim)."""
        observation = observed(request, self._adapter.info, self._keys)
        noise = generator_for(self._seed, self._requests)
        self._requests += 1
        with self._turn:
            chunk = self._adapter.infer([observation], generators=[noise])
        return {"actions": chunk.actions[0]}

    def _ours(self, request: Mapping[str, Any]) -> dict[str, Any]:
        observations = [observation_from(o) for o in request["observations"]]
        if request["op"] == "token_spans":
            spans = self._adapter.token_spans(observations, call=request["call"])
            return {"spans": {name: [s.pairs() for s in rows] for name, rows in spans.items()}}
        if request["op"] != "infer":
            raise unknown_name("request", request["op"], ["infer", "token_spans"])
        noise = [_generator(state) for state in request["noise"]]
        sessions = self._opened(request["sessions"])
        with ExitStack() as attached, torch.no_grad():
            for asked, session in zip(request["sessions"], sessions, strict=True):
                attached.enter_context(session)
                session.begin(observations, [Moment(*moment) for moment in asked["moments"]])
            chunk = self._adapter.predict_chunk(observations, generators=noise)
            done = []
            for session in sessions:
                done.append({"counts": session.counts, "outcome": outcome_of(session)})
                session.finish()
        return {
            "actions": chunk.actions,
            "noise": [generator.get_state().numpy() for generator in noise],
            "sessions": done,
        }

    def _opened(self, asked: list[dict[str, Any]]) -> list[HookSession]:
        """The sessions asked for, in order; those no longer asked for are let go of."""
        before = self._sessions
        self._sessions = {
            a["id"]: before.get(a["id"]) or session_for(self._adapter, a["open"]) for a in asked
        }
        return list(self._sessions.values())


def _generator(state: Any) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(torch.from_numpy(state.copy()))
    return generator
