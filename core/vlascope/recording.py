"""Reading activations: what to keep, and an in-memory cache addressed by coordinate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, ConfigDict, field_validator
from torch import Tensor

from vlascope.errors import MisalignedActivations, UnknownName
from vlascope.hooks import Firing, HookPoint, Moment, TokenSpans
from vlascope.noise import generator_for
from vlascope.sessions import Batch, HookSession

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter
    from vlascope.types import Observation

__all__ = ["ActivationCache", "Captured", "RecordSpec", "Recording", "capture", "record"]


class RecordSpec(BaseModel):
    """What to keep of an activation.

    Attributes:
        at: globs of hook points.
        calls: which calls of a chunk (None: all).
        tokens: globs of token spans (None: all tokens).
        pool: reduce the kept tokens of each row to one (`mean`, `last`, `max`), or keep them.
        dtype: what to keep them as (None: as computed).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: tuple[str, ...]
    calls: tuple[int, ...] | None = None
    tokens: tuple[str, ...] | None = None
    pool: Literal["none", "mean", "last", "max"] = "none"
    dtype: Literal["float16", "bfloat16", "float32"] | None = None

    @field_validator("at", "tokens", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


@dataclass(frozen=True, eq=False)
class Captured:
    """One firing as kept.

    Attributes:
        firing: where and when, per row.
        rows: per row (kept tokens, width).
        tokens: per row, the indices of the kept tokens; a pooled row keeps the first index.
    """

    firing: Firing
    rows: tuple[Tensor, ...]
    tokens: tuple[tuple[int, ...], ...]


class ActivationCache(Mapping[HookPoint, list[Captured]]):
    """Recorded activations in memory.

    `cache[point]` is every firing in order, `cache.lookup(point, moment)` one row by coordinate,
    `cache.stack(point)` everything as one tensor.
    """

    def __init__(self, captured: Mapping[HookPoint, list[Captured]]) -> None:
        self._known = dict(captured)
        self._pending: list[tuple[Batch, HookPoint, int, Tensor]] = []
        self._index: dict[tuple[HookPoint, Moment], tuple[Captured, int]] = {}
        self._indexed = 0

    def __getitem__(self, point: HookPoint | str) -> list[Captured]:
        key = HookPoint.parse(point) if isinstance(point, str) else point
        if key not in self._captured:
            raise UnknownName(f"{key} was not recorded; recorded: {[str(p) for p in self]}")
        return self._captured[key]

    def __iter__(self) -> Iterator[HookPoint]:
        return iter(self._captured)

    def __len__(self) -> int:
        return len(self._captured)

    def add(self, captured: Captured) -> None:
        """Append one firing."""
        self._captured.setdefault(captured.firing.point, []).append(captured)

    def add_whole(self, batch: Batch, point: HookPoint, call: int, value: Tensor) -> None:
        """Append one firing with all its tokens, (batch, tokens, width), which the cache then owns.

        Who and when is worked out when the cache is first read, not while the policy runs.
        """
        self._pending.append((batch, point, call, value))

    def clear(self) -> None:
        """Let go of every activation; the points stay known."""
        self._pending.clear()
        for kept in self._known.values():
            kept.clear()
        self._index, self._indexed = {}, 0

    def stack(self, point: HookPoint | str) -> Tensor:
        """Every firing of a point, (firings, batch, tokens, width).

        Raises:
            MisalignedActivations: the firings differ in batch or token count.
        """
        kept = self[point]
        shapes = {tuple(row.shape) for c in kept for row in c.rows}
        if len(shapes) != 1 or len({len(c.rows) for c in kept}) != 1:
            raise MisalignedActivations(
                f"{point} was recorded in shapes {sorted(shapes)} over {len(kept)} firings; "
                "select tokens or pool them to stack"
            )
        return torch.stack([torch.stack(c.rows) for c in kept])

    def lookup(self, point: HookPoint, moment: Moment) -> Tensor | None:
        """What was recorded there and then, (tokens, width), or None."""
        found = self._find(point, moment)
        return None if found is None else found[0].rows[found[1]]

    def spans_at(self, point: HookPoint, moment: Moment) -> TokenSpans | None:
        """The spans of the tokens kept there and then, or None."""
        found = self._find(point, moment)
        if found is None or not found[0].firing.spans:
            return None
        captured, row = found
        return captured.firing.spans[row].among(captured.tokens[row])

    def moments(self, point: HookPoint) -> list[Moment]:
        """Every moment recorded at a point, in order."""
        return [m for c in self[point] for m in c.firing.moments]

    @property
    def _captured(self) -> dict[HookPoint, list[Captured]]:
        """Everything, in the order it fired."""
        pending, self._pending = self._pending, []
        for batch, point, call, value in pending:
            every = (_all_tokens(value.shape[1]),) * len(value)
            captured = Captured(batch.firing(point, call), value.unbind(0), every)
            self._known.setdefault(point, []).append(captured)
        return self._known

    def _find(self, point: HookPoint, moment: Moment) -> tuple[Captured, int] | None:
        captured = self._captured
        total = sum(len(kept) for kept in captured.values())
        if total != self._indexed:
            self._index = {
                (p, m): (c, row)
                for p, kept in captured.items()
                for c in kept
                for row, m in enumerate(c.firing.moments)
            }
            self._indexed = total
        return self._index.get((point, moment))


class _StopForward(BaseException):
    """Everything wanted has been recorded; the rest of the forward pass is not needed."""


class Recording(HookSession):
    """Keeps a clone of what it sees; never edits."""

    def __init__(self, adapter: VLAAdapter, spec: RecordSpec, *, stop: bool = False) -> None:
        super().__init__(adapter, adapter.match(spec.at))
        self.spec = spec
        self.cache = ActivationCache({p: [] for p in self.points})
        self._stop = stop
        self._needed = [adapter.info.pathway(p.pathway).calls_per_chunk for p in self.points]
        self._whole = spec.tokens is None and spec.pool == "none"
        self._dtype = None if spec.dtype is None else getattr(torch, spec.dtype)
        self._latest: tuple[Tensor, int, Tensor] | None = None

    def fired(self, point: HookPoint, call: int, value: Tensor) -> None:
        """Keep what the spec names."""
        if self.spec.calls is None or call in self.spec.calls:
            if len(value) != len(self.batch.moments):
                raise MisalignedActivations(
                    f"{point} shows {len(value)} rows for a batch of {len(self.batch.moments)}; "
                    "its tap must present (batch, tokens, width)"
                )
            if self._whole:
                self.cache.add_whole(self.batch, point, call, self._copy(value))
            else:
                self.cache.add(_keep(self.batch.firing(point, call), value, self.spec))
        if self._stop and self._complete():
            raise _StopForward

    def finish(self) -> None:
        """The chunk is complete."""
        self._latest = None
        super().finish()

    def _copy(self, value: Tensor) -> Tensor:
        """A clone; a tensor that two points share (a block's output, the next one's input) has one.

        Its version tells whether the policy has written into it in between.
        """
        version = -1 if value.is_inference() else value._version
        if (
            self._latest is not None
            and value is self._latest[0]
            and version == self._latest[1] >= 0
        ):
            return self._latest[2]
        kept = value.detach() if value.requires_grad else value
        clone = kept.clone() if self._dtype in (None, kept.dtype) else kept.to(self._dtype)
        self._latest = (value, version, clone)
        return clone

    def _complete(self) -> bool:
        """Whether every point has fired as often as it will in this chunk."""
        return all(
            needed is not None and fired >= needed
            for fired, needed in zip(self._counts, self._needed, strict=True)
        )


@contextmanager
def record(adapter: VLAAdapter, at: str | Sequence[str] | RecordSpec) -> Iterator[ActivationCache]:
    """Record the named activations of everything `adapter` infers inside the block.

    What is kept is a clone: policies that edit their tensors in place do not change it.

    Raises:
        UnknownName: a glob matches no hook point.
    """
    with Recording(adapter, _as_spec(at)) as session:
        yield session.cache


def capture(
    adapter: VLAAdapter,
    observations: Sequence[Observation],
    at: str | Sequence[str] | RecordSpec,
    *,
    generators: Sequence[torch.Generator] | None = None,
    moments: Sequence[Moment] | None = None,
) -> ActivationCache:
    """Record one inference and stop the forward pass after the last wanted activation."""
    with Recording(adapter, _as_spec(at), stop=True) as session:
        session.begin(observations, moments)
        noise = generators or [generator_for(0) for _ in observations]
        try:
            with torch.no_grad():
                adapter.predict_chunk(observations, generators=noise)
            session.finish()
        except _StopForward:
            pass
        return session.cache


def _as_spec(at: str | Sequence[str] | RecordSpec) -> RecordSpec:
    if isinstance(at, RecordSpec):
        return at
    return RecordSpec(at=(at,) if isinstance(at, str) else tuple(at))


def _keep(firing: Firing, value: Tensor, spec: RecordSpec) -> Captured:
    """Select, pool, convert and clone."""
    kept = value.detach()
    dtype = kept.dtype if spec.dtype is None else getattr(torch, spec.dtype)
    indices = [_selected(firing, row, kept.shape[1], spec.tokens) for row in range(len(kept))]
    selected = [_pooled(kept[i, list(t)], spec.pool).to(dtype) for i, t in enumerate(indices)]
    tokens = indices if spec.pool == "none" else [t[:1] for t in indices]
    return Captured(firing, tuple(selected), tuple(tokens))


@cache
def _all_tokens(n_tokens: int) -> tuple[int, ...]:
    return tuple(range(n_tokens))


def _selected(
    firing: Firing, row: int, n_tokens: int, patterns: tuple[str, ...] | None
) -> tuple[int, ...]:
    if patterns is None:
        return _all_tokens(n_tokens)
    spans = firing.spans[row] if firing.spans else TokenSpans({})
    names = spans.match(patterns)
    if not names:
        raise UnknownName(
            f"{list(patterns)} names no token span of {firing.point}; it carries {list(spans)}"
        )
    return tuple(i for name in names for i in range(spans[name].start, spans[name].stop))


def _pooled(tokens: Tensor, pool: str) -> Tensor:
    """(tokens, width) to (1, width), or unchanged for `none`."""
    if pool == "mean":
        return tokens.mean(0, keepdim=True)
    if pool == "max":
        return tokens.amax(0, keepdim=True)
    return tokens[-1:] if pool == "last" else tokens
