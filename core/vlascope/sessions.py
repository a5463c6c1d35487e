"""The life of attached hooks: opened, told of each chunk, counted, and always removed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from torch import Tensor

from vlascope.errors import EditMisfired
from vlascope.hooks import Firing, HookPoint, Moment, TokenSpans

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from vlascope.adapter import VLAAdapter
    from vlascope.taps import Tap
    from vlascope.types import Observation

__all__ = ["Batch", "HookSession"]


class Batch:
    """One inference: its rows' observations and moments, and their token spans when asked for."""

    def __init__(
        self, adapter: VLAAdapter, observations: Sequence[Observation], moments: Sequence[Moment]
    ) -> None:
        if len(moments) != len(observations):
            raise ValueError(f"{len(observations)} rows need as many moments, got {len(moments)}")
        self.moments = tuple(moments)
        self._adapter = adapter
        self._observations = observations
        self._at_call: dict[int, tuple[Moment, ...]] = {}
        self._spans: dict[int, dict[str, tuple[TokenSpans, ...]]] = {}

    def firing(self, point: HookPoint, call: int) -> Firing:
        """What to tell of the `call`-th time `point` is computed."""
        if call not in self._at_call:
            self._at_call[call] = tuple(m.at_call(call) for m in self.moments)
        return Firing(point, call, self._at_call[call], self.spans(point, call))

    def spans(self, point: HookPoint, call: int) -> tuple[TokenSpans, ...]:
        """Token spans of every row: the point's own, else its layer's, else its pathway's."""
        if call not in self._spans:
            self._spans[call] = dict(self._adapter.token_spans(self._observations, call=call))
        found = self._spans[call]
        for name in (str(point), f"{point.pathway}.{point.layer}", point.pathway):
            if name in found:
                return found[name]
        return ()


class HookSession(ABC):
    """Hooks on some points of one adapter, from `__enter__` to `__exit__`."""

    def __init__(self, adapter: VLAAdapter, points: Sequence[HookPoint]) -> None:
        self.adapter = adapter
        self.points = tuple(points)
        self.chunks = 0
        self._counts = [0] * len(self.points)
        self._handles: list[RemovableHandle] = []
        self._batch: Batch | None = None

    @abstractmethod
    def fired(self, point: HookPoint, call: int, value: Tensor) -> Tensor | None:
        """See an activation; return its replacement, or None."""

    @property
    def batch(self) -> Batch:
        """The inference under way."""
        if self._batch is None:
            raise RuntimeError(
                "a hooked policy ran outside infer(); call adapter.infer(...) instead of "
                "predict_chunk(...), so that the session knows which moments these rows are"
            )
        return self._batch

    @property
    def counts(self) -> dict[str, int]:
        """How often each point has fired in the inference under way."""
        return {str(p): n for p, n in zip(self.points, self._counts, strict=True)}

    def counted(self, counts: Mapping[str, int]) -> None:
        """Take it from someone else how often each point fired in the inference under way."""
        self._counts = [counts[str(point)] for point in self.points]

    def __enter__(self) -> Self:
        taps = self.adapter.hook_points()
        try:
            for index, point in enumerate(self.points):
                self._attach(index, point, taps.get(point) or self.adapter.tap(point))
        except BaseException:
            self._detach()
            raise
        self.adapter._sessions.append(self)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._detach()
        self.adapter._sessions.remove(self)

    def begin(self, observations: Sequence[Observation], moments: Sequence[Moment] | None) -> None:
        """A chunk is about to be inferred."""
        if moments is None:
            step = self.chunks * self.adapter.info.executed_steps
            moments = [Moment(f"row{i}", step, self.chunks) for i, _ in enumerate(observations)]
        self._counts = [0] * len(self.points)
        self._batch = Batch(self.adapter, observations, moments)

    def finish(self) -> None:
        """The chunk is complete: every point must have fired as often as its pathway declares.

        Raises:
            EditMisfired: naming the point, what it declared and what happened.
        """
        self._batch = None
        self.chunks += 1
        for point, fired in zip(self.points, self._counts, strict=True):
            declared = self.adapter.info.pathway(point.pathway).calls_per_chunk
            if fired == 0 or (declared is not None and fired != declared):
                raise EditMisfired(
                    f"{point} of {self.adapter.name} fired {fired} times in a chunk, its pathway "
                    f"declares {declared or 'at least 1'}: the tap hooks a module that the "
                    f"forward pass does not call as declared; fix the adapter's hook map or "
                    f"calls_per_chunk (`vlascope check {self.adapter.name}` shows every point)"
                )

    def _attach(self, index: int, point: HookPoint, tap: Tap) -> None:
        def edit(value: Tensor) -> Tensor | None:
            call = self._counts[index]
            self._counts[index] = call + 1
            return self.fired(point, call, value)

        self._handles.extend(tap.attach(self.adapter.model, edit))

    def _detach(self) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._batch = None
