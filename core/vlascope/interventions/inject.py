"""Putting in what another run computed (activation patching)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import PrivateAttr
from torch import Tensor

from vlascope.errors import IncompatibleError, MisalignedActivations
from vlascope.hooks import Firing, HookPoint, Moment, TokenSpans
from vlascope.interventions.bases import BasisField
from vlascope.interventions.intervention import Intervention
from vlascope.interventions.sources import SourceField
from vlascope.subspaces import random_subspace, refuse_dimension

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo

__all__ = ["Inject", "InjectSubspace"]


class Inject(Intervention):
    """Put in what another run computed at the same point, at the same coordinate.

    The coordinate is (env step, chunk, call) of the paired episode, never a running counter.

    Attributes:
        source: what was recorded.
        pairs: source episode by target episode; an episode not listed takes its own name.
        align: `coordinate` demands equal token counts; `span` pairs the token spans of equal
            name and copies their common length, leaving other tokens alone.
        missing: where the source has no such moment (its episode was shorter): `error`, `stop`
            editing that row, or `hold` the last recorded chunk.
    """

    kind: ClassVar[str] = "inject"
    source: SourceField
    pairs: Mapping[str, str] | None = None
    align: Literal["coordinate", "span"] = "coordinate"
    missing: Literal["error", "stop", "hold"] = "error"
    _ends: dict[HookPoint, dict[tuple[str, int], Moment]] = PrivateAttr(default_factory=dict)

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """The paired source's rows."""
        rows = []
        for i, moment in enumerate(firing.moments):
            found = self.source_moment(firing.point, moment)
            spans = firing.spans[i] if firing.spans else None
            rows.append(self._aligned(firing.point, found, activation[i], spans))
        return torch.stack(rows)

    def concerns(self, point: HookPoint, moment: Moment) -> bool:
        """Also false where the source episode is over and `missing` is `stop`."""
        if not super().concerns(point, moment):
            return False
        return self.missing != "stop" or self._ended(point, moment) is None

    def source_moment(self, point: HookPoint, moment: Moment) -> Moment:
        """The recorded moment that goes in at `moment`.

        Raises:
            MisalignedActivations: there is none, and `missing` does not say what to do.
        """
        wanted = replace(moment, episode=self._source_episode(moment))
        if self.source.lookup(point, wanted) is not None:
            return wanted
        end = self._ended(point, moment)
        if self.missing == "hold" and end is not None:
            return end
        raise MisalignedActivations(
            f"the source recorded nothing at {point}, {wanted}; record that episode to the end, "
            "or set missing='stop' or 'hold'"
        )

    def _source_episode(self, moment: Moment) -> str:
        return (self.pairs or {}).get(moment.episode, moment.episode)

    def _ended(self, point: HookPoint, moment: Moment) -> Moment | None:
        """The source's last moment on this call, where the source is over by now; else None."""
        if point not in self._ends:
            ends: dict[tuple[str, int], Moment] = {}
            for m in sorted(self.source.moments(point), key=lambda m: m.step):
                ends[m.episode, m.call] = m
            self._ends[point] = ends
        end = self._ends[point].get((self._source_episode(moment), moment.call))
        return end if end is not None and end.step < moment.step else None

    def _aligned(
        self, point: HookPoint, found: Moment, row: Tensor, spans: TokenSpans | None
    ) -> Tensor:
        value = self.source.lookup(point, found)
        assert value is not None  # source_moment found it
        if value.shape[-1] != row.shape[-1]:
            raise MisalignedActivations(
                f"{point}: the source is {value.shape[-1]} wide, the activation {row.shape[-1]}"
            )
        if self.align == "span":
            theirs = self.source.spans_at(point, found)
            return _spliced(point, value.to(row), theirs, row, spans)
        if value.shape != row.shape:
            raise MisalignedActivations(
                f"{point} at {found}: the source has {value.shape[0]} tokens, the target "
                f"{row.shape[0]}; set align='span' to pair token spans by name"
            )
        return value.to(row)


class InjectSubspace(Inject):
    """Put in only the component within a subspace: x' = x + U U^T (s - x).

    Attributes:
        basis: `{file: PATH, name: NAME}` of a subspace (see `vlascope.directions`; `names: [...]`
            for several hook points, each found at its own), or numbers (k, width) by hook point;
            orthonormalised on use. 1 <= k < width.
        random: use a random subspace of equal dimension instead, drawn from this seed and the
            hook point's name (a control).
    """

    kind: ClassVar[str] = "inject_subspace"
    basis: BasisField
    random: int | None = None
    _frames: dict[str, Tensor] = PrivateAttr(default_factory=dict)

    @classmethod
    def control(cls, role: str, written: Mapping[str, Any]) -> dict[str, Any] | None:
        """Also `random_subspace`."""
        if role == "random_subspace":
            return {**written, "random": 0}
        return super().control(role, written)

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """Move towards the source within the span of the basis."""
        source = super().edit(activation, firing)
        frame = self._frame(firing.point, activation)
        return activation + ((source - activation) @ frame) @ frame.T

    def check(self, info: AdapterInfo, points: Sequence[HookPoint]) -> None:
        """Every point has a basis of its own width, of neither 0 nor all of its dimensions."""
        for point in points:
            basis = self.basis.get(point)
            refuse_dimension(f"basis for {point}", *basis.shape)
            declared = info.pathway(point.pathway).width_at(point.site, point.layer)
            if declared is not None and declared != basis.shape[1]:
                raise IncompatibleError(
                    f"the basis for {point} is {basis.shape[1]} wide, {point} of {info.name} "
                    f"({info.checkpoint}) is {declared} wide: it was found in another policy"
                )

    def _frame(self, point: HookPoint, like: Tensor) -> Tensor:
        """Orthonormal columns, (width, k)."""
        name = str(point)
        if name not in self._frames:
            rows = self.basis.get(point).double()
            if self.random is not None:
                drawn = random_subspace(name, name, *rows.shape, seed=self.random)
                rows = torch.from_numpy(drawn.basis.copy()).double()
            self._frames[name] = torch.linalg.qr(rows.T)[0]
        frame = self._frames[name]
        if len(frame) != like.shape[-1]:
            raise MisalignedActivations(
                f"the basis for {name} is {len(frame)} wide, the activation {like.shape[-1]}"
            )
        return frame.to(like)


def _spliced(
    point: HookPoint,
    source: Tensor,
    theirs: TokenSpans | None,
    row: Tensor,
    ours: TokenSpans | None,
) -> Tensor:
    if theirs is None or ours is None:
        raise MisalignedActivations(
            f"align='span' needs token spans at {point}, which this adapter does not declare"
        )
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise MisalignedActivations(f"{point}: no span in common: {list(theirs)}, {list(ours)}")
    spliced = row.clone()
    for name in shared:
        here, there = ours[name], theirs[name]
        length = min(here.stop - here.start, there.stop - there.start)
        spliced[here.start : here.start + length] = source[there.start : there.start + length]
    return spliced
