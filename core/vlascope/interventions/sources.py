"""Where an injected activation comes from: an in-memory cache, or anything stored."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from safetensors.torch import load, save
from torch import Tensor

from vlascope.hooks import Firing, HookPoint, Moment, TokenSpans
from vlascope.recording import ActivationCache, Captured

__all__ = ["ActivationSource", "SourceField"]


@runtime_checkable
class ActivationSource(Protocol):
    """Activations addressed by coordinate."""

    def lookup(self, point: HookPoint, moment: Moment) -> Tensor | None:
        """What was recorded there and then, (tokens, width), or None."""
        ...

    def spans_at(self, point: HookPoint, moment: Moment) -> TokenSpans | None:
        """The token spans recorded there and then, or None."""
        ...

    def moments(self, point: HookPoint) -> list[Moment]:
        """Every moment recorded at a point, in order."""
        ...


def _dump(source: ActivationSource) -> dict[str, Any]:
    if isinstance(source, ActivationCache):
        return {"cache": _cache_to_json(source)}
    path = getattr(source, "path", None)
    if path is None:
        raise ValueError(f"a {type(source).__name__} has no path to be named by in JSON")
    return {"store": str(path)}


def _parse(value: Any) -> ActivationSource:
    if isinstance(value, ActivationSource):
        return value
    if isinstance(value, dict) and set(value) == {"cache"}:
        return _cache_from_json(value["cache"])
    if isinstance(value, dict) and set(value) == {"store"}:
        from vlascope.store import ActivationStore

        return ActivationStore.open(value["store"])
    raise ValueError("a source is a recorded cache, {'cache': ...} or {'store': PATH}")


def _cache_to_json(cache: ActivationCache) -> str:
    """Base64 of one safetensors blob: a tensor per row, its coordinates in the metadata."""
    tensors: dict[str, Tensor] = {}
    entries: list[dict[str, Any]] = []
    for captured in (c for point in cache for c in cache[point]):
        firing = captured.firing
        for row, value in enumerate(captured.rows):
            tensors[str(len(entries))] = value.contiguous()
            moment = firing.moments[row]
            spans = firing.spans[row].pairs() if firing.spans else None
            entries.append(
                {
                    "point": str(firing.point),
                    "moment": [moment.episode, moment.step, moment.chunk, moment.call],
                    "spans": spans,
                    "tokens": list(captured.tokens[row]),
                }
            )
    return base64.b64encode(save(tensors, {"rows": json.dumps(entries)})).decode()


def _cache_from_json(text: str) -> ActivationCache:
    raw = base64.b64decode(text)
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    cache, tensors = ActivationCache({}), load(raw)
    for i, entry in enumerate(json.loads(header["__metadata__"]["rows"])):
        moment = Moment(*entry["moment"])
        spans = (TokenSpans(entry["spans"]),) if entry["spans"] is not None else ()
        firing = Firing(HookPoint.parse(entry["point"]), moment.call, (moment,), spans)
        cache.add(Captured(firing, (tensors[str(i)],), (tuple(entry["tokens"]),)))
    return cache


SourceField = Annotated[
    ActivationSource,
    PlainValidator(_parse),
    PlainSerializer(_dump),
    WithJsonSchema({"type": "object"}),
]
"""An activation source that survives JSON: a cache by value, a store by path."""
