"""A policy behind a websocket, as if it were here."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from vlascope.adapter import VLAAdapter
from vlascope.errors import CapabilityMissing
from vlascope.hooks import HookPoint, TokenSpans
from vlascope.serving import Connection
from vlascope.serving.describing import Description, observation_to
from vlascope.serving.working import learn, request_of
from vlascope.sessions import HookSession
from vlascope.taps import Edit, Tap
from vlascope.types import ActionChunk, Observation
from vlascope_adapters.remote.plain import PlainPolicy, plain_policy

__all__ = ["RemoteAdapter"]

_SERVERS_CHOICE = (
    "device and dtype of a remote policy are its server's: give them to `vlascope serve`"
)


class RemoteTap:
    """A hook point on a server: sessions have the server do their work, so nothing is attached."""

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Nothing is hooked in this process."""
        return []


class RemoteAdapter(VLAAdapter):
    """The policy at the other end of a connection.

    Of a vlascope server it has the hook points, records and is edited: what recorders and
    interventions of this process want is sent, and what came of it is returned to them. A plain
    openpi server's policy acts, and nothing more.
    """

    name: ClassVar[str] = "remote"
    capabilities: ClassVar[frozenset[str]] = frozenset({"attention"})
    expected_failures: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("edits_change_actions", "dead_sites_are_dead", "exceptions_remove_hooks"),
        "the check's own edit is of no registered kind, so it cannot be sent to a server",
    )

    def __init__(
        self, connection: Connection, description: Description | None, plain: PlainPolicy | None
    ) -> None:
        self.model = nn.Module()
        self._connection, self._plain = connection, plain
        self._closing = ExitStack()
        self._closing.callback(connection.close)
        self.close = weakref.finalize(self, self._closing.close)
        self._ids: weakref.WeakKeyDictionary[HookSession, int] = weakref.WeakKeyDictionary()
        self._next, self._known = count(), frozenset[int]()
        if plain is not None:
            self.info, self._described = plain.info, None
            return
        assert description is not None
        info = description.info
        served = {**info.notes, "served": f"{info.name}:{info.checkpoint}"}
        self.info = replace(info, name=self.name, checkpoint=connection.address, notes=served)
        self._described = description

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        api_key: str | None = None,
        wait: float = 0.0,
        benchmark: str | None = None,
        benchmark_options: Mapping[str, Any] | None = None,
        keys: Mapping[str, Any] | None = None,
        executed_steps: int | None = None,
        resize: int | None = None,
        identity: str | None = None,
    ) -> Self:
        """Connect to a policy server.

        Args:
            checkpoint: its address, `ws://HOST:PORT`.
            device: the server's choice.
            dtype: the server's choice.
            api_key: what the server wants to see.
            wait: seconds to keep trying while nobody listens there.
            benchmark: only for plain openpi servers, like all that follow: the benchmark that
                the policy was trained for, whose actions, cameras and states are its own.
            benchmark_options: what that benchmark is built with.
            keys: what is sent, by openpi's key: a camera, a state stream, a list of streams (end
                to end) or `prompt`.
            executed_steps: actions executed of each chunk; None for all.
            resize: side of the square that pictures are scaled into, padded with black.
            identity: which weights these are, for the records.

        Raises:
            ServerLost: nobody answers, or turns us away.
            IncompatibleError: it speaks another version of our protocol, or its actions are not
                the benchmark's.
            InvalidName: a plain server, of which nothing is said.
        """
        if device != "cpu" or dtype != torch.float32:
            raise CapabilityMissing(_SERVERS_CHOICE)
        connection = Connection(checkpoint, api_key=api_key, wait=wait)
        try:
            description = Description.read(connection.metadata, checkpoint)
            plain = None
            if description is None:
                plain = plain_policy(
                    connection,
                    benchmark=benchmark,
                    benchmark_options=benchmark_options or {},
                    keys=keys,
                    executed_steps=executed_steps,
                    resize=resize,
                    identity=identity,
                )
            return cls(connection, description, plain)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """The toy policy behind a server in this process."""
        from vlascope.serving import PolicyServer
        from vlascope_adapters.toy.adapter import ToyAdapter

        with ExitStack() as stack:
            address = stack.enter_context(PolicyServer(ToyAdapter.tiny(seed)).running())
            policy = cls.from_pretrained(address)
            connection = policy._connection
            policy._closing.pop_all()
            policy._closing.push(stack.pop_all())
            policy._closing.callback(connection.close)
        return policy

    def to(self, *, device: str, dtype: torch.dtype) -> None:
        """Refused, unless it changes nothing."""
        if device != "cpu" or dtype != torch.float32:
            raise CapabilityMissing(_SERVERS_CHOICE)

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Those of the policy that is served; none of a plain server."""
        return dict.fromkeys(self._described.points, RemoteTap()) if self._described else {}

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """Those of the policy that is served."""
        return dict.fromkeys(self._described.attention, RemoteTap()) if self._described else {}

    def dead_points(self) -> frozenset[HookPoint]:
        """Those of the policy that is served."""
        return self._described.dead if self._described else frozenset()

    def match(self, pattern: str | Sequence[str]) -> list[HookPoint]:
        """The hook points a glob names.

        Raises:
            CapabilityMissing: a plain server tells of no hook points.
            UnknownName: a glob matches nothing.
        """
        if self._described is None:
            raise CapabilityMissing(
                f"the server at {self._connection.address} speaks openpi's protocol and no more: "
                f"nothing inside its policy can be recorded or edited (asked: {pattern!r}); serve "
                "the policy with `vlascope serve` to look into it"
            )
        return super().match(pattern)

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """As the server tells them of these observations."""
        if self._described is None:
            return {}
        sent = [observation_to(o) for o in observations]
        request = {"op": "token_spans", "observations": sent, "call": call}
        found = self._connection.ask_ours(request)["spans"]
        return {name: tuple(TokenSpans(row) for row in rows) for name, rows in found.items()}

    def predict_chunk(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> ActionChunk:
        """One request for the whole batch; a plain server is asked row by row."""
        if self._plain is not None:
            return ActionChunk(np.stack([self._plain.act(o) for o in observations]))
        sessions = list(self._sessions)
        asked = [self._asked(session) for session in sessions]
        self._known = frozenset()  # a server that fails forgets them
        answer = self._connection.ask_ours(
            {
                "op": "infer",
                "observations": [observation_to(o) for o in observations],
                "noise": [generator.get_state().numpy() for generator in generators],
                "sessions": asked,
            }
        )
        self._known = frozenset(self._ids[session] for session in sessions)
        for session, done in zip(sessions, answer["sessions"], strict=True):
            learn(session, done["counts"], done["outcome"])
        for generator, state in zip(generators, answer["noise"], strict=True):
            generator.set_state(torch.from_numpy(state.copy()))
        return ActionChunk(np.array(answer["actions"], np.float32))

    def _asked(self, session: HookSession) -> dict[str, Any]:
        """What these hooks want done; said in full when the server does not know it yet."""
        number = self._ids.setdefault(session, -1)
        if number < 0:
            number = self._ids[session] = next(self._next)
        moments = [[m.episode, m.step, m.chunk] for m in session.batch.moments]
        asked: dict[str, Any] = {"id": number, "moments": moments}
        if number not in self._known:
            asked["open"] = request_of(session)
        return asked
