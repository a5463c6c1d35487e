"""Recorders and interventions whose work is done on a server, and told to the client's own.

The client's sessions are as open as ever: they say what they want (`request_of`), and learn what
was recorded and edited in their place (`learn`), so that caches and receipts are theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vlascope.adapter import VLAAdapter
from vlascope.errors import CapabilityMissing
from vlascope.hooks import Firing, HookPoint, TokenSpans
from vlascope.intervening import EditSession, Tally
from vlascope.interventions import parse_intervention
from vlascope.recording import Captured, Recording, RecordSpec
from vlascope.serving.wire import tensor_from, tensor_to
from vlascope.sessions import HookSession

__all__ = ["learn", "outcome_of", "request_of", "session_for"]


def request_of(session: HookSession) -> dict[str, Any]:
    """What a server needs to know to do a session's work.

    Raises:
        CapabilityMissing: only recorders and interventions can be sent.
    """
    if isinstance(session, Recording):
        return {"record": session.spec.model_dump(mode="json")}
    if isinstance(session, EditSession):
        return {"intervene": _absolute(session.intervention.model_dump(mode="json"))}
    raise CapabilityMissing(
        f"a {type(session).__name__} works on a policy of this process, not on a remote one"
    )


def session_for(adapter: VLAAdapter, request: dict[str, Any]) -> HookSession:
    """The server's session for a request, not yet attached.

    Raises:
        UnknownName: its globs name no hook point, or no plugin here registers its kind.
        pydantic.ValidationError: its fields do not fit.
    """
    if "record" in request:
        return Recording(adapter, RecordSpec.model_validate(request["record"]))
    return EditSession(adapter, parse_intervention(request["intervene"]))


def outcome_of(session: HookSession) -> dict[str, Any]:
    """What a server's session did in one inference, which it then forgets."""
    if isinstance(session, Recording):
        kept = [_captured_to(c) for point in session.cache for c in session.cache[point]]
        session.cache.clear()
        return {"captured": kept}
    assert isinstance(session, EditSession)
    tallies, expected, missed = session.hand_over()
    return {
        "tallies": [[list(t.episodes), t.call, tensor_to(t.ratios)] for t in tallies],
        "expected": dict(expected),
        "missed": dict(missed),
    }


def learn(session: HookSession, counts: dict[str, int], outcome: dict[str, Any]) -> None:
    """Tell the client's session what the server's did in its place."""
    session.counted(counts)
    if isinstance(session, Recording):
        for data in outcome["captured"]:
            session.cache.add(_captured_from(session, data))
        return
    assert isinstance(session, EditSession)
    session.take_over(
        [Tally(tuple(e), call, tensor_from(ratios)) for e, call, ratios in outcome["tallies"]],
        outcome["expected"],
        outcome["missed"],
    )


def _absolute(value: Any) -> Any:
    """An edit whose stores and files are named by absolute paths, for a server started elsewhere.

    It must see the same file system; a recorded cache is sent whole.
    """
    if isinstance(value, dict):
        return {
            key: str(Path(entry).resolve())
            if key in ("store", "file") and isinstance(entry, str)
            else _absolute(entry)
            for key, entry in value.items()
        }
    return [_absolute(entry) for entry in value] if isinstance(value, list) else value


def _captured_to(captured: Captured) -> dict[str, Any]:
    rows = captured.rows
    alike = len({row.shape for row in rows}) == 1
    values = [torch.stack(rows)] if alike else list(rows)
    whole = all(t == tuple(range(len(t))) for t in captured.tokens)
    return {
        "point": str(captured.firing.point),
        "call": captured.firing.call,
        "alike": alike,
        "values": [tensor_to(value) for value in values],
        "tokens": None if whole else [list(t) for t in captured.tokens],
        "spans": [list(s.pairs().items()) for s in captured.firing.spans],
    }


def _captured_from(session: Recording, data: dict[str, Any]) -> Captured:
    values = [tensor_from(value) for value in data["values"]]
    rows = tuple(values[0].unbind(0)) if data["alike"] else tuple(values)
    whole = [range(len(row)) for row in rows]
    tokens: Sequence[Sequence[int]] = data["tokens"] or whole
    moments = tuple(m.at_call(data["call"]) for m in session.batch.moments)
    spans = tuple(TokenSpans({name: (a, b) for name, (a, b) in s}) for s in data["spans"])
    firing = Firing(HookPoint.parse(data["point"]), data["call"], moments, spans)
    return Captured(firing, rows, tuple(map(tuple, tokens)))
