"""Mean activations of a recorded arm, offered as ablations; and which points are dead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from vlascope.errors import UnusableActivations
from vlascope.hooks import HookPoint
from vlascope.sections import Table
from vlascope.store.durable import write_atomically
from vlascope.study.analysis import Analysis, AnalysisContext, AnalysisResult

if TYPE_CHECKING:
    from vlascope.store import ActivationStore, Where

__all__ = ["Means"]

PER_TOKEN = ".per_token"
_FILE = "means.safetensors"


class Means(Analysis):
    """Means over every moment of an arm's episodes, by hook point.

    Offers as edits, for every point and every glob as written: `mean:POINT` (one mean over tokens),
    `mean_per_token:POINT` (one per token position, where every moment has as many tokens) and
    `resample:POINT` (another episode of the same arm at the same coordinate, or the last it has
    where it was over by then).

    Attributes:
        at: globs of hook points to record; depth thirds may be named.
        seed: of the draw of donors.
    """

    kind: ClassVar[str] = "means"

    at: tuple[str, ...] = ()
    seed: int = 0

    def recordings(self) -> dict[str, tuple[str, ...]]:
        """Every arm, at every point."""
        return dict.fromkeys(self.arms, self.at) if self.at else {}

    def run(self, context: AnalysisContext) -> AnalysisResult:
        """Average what was recorded.

        Raises:
            UnusableActivations: nothing was recorded at a point, or a mean is not finite.
        """
        dead = context.adapter.dead_points()
        layers = {p.name: p.n_layers for p in context.adapter.info.pathways}
        data: dict[str, Any] = {"dead": sorted(str(p) for p in dead), "layers": layers}
        if not self.at:
            return AnalysisResult(data=data)
        store, wanted = context.store(), set(_matched(context, self.at))
        edits: dict[str, tuple[dict[str, Any], ...]] = {}
        tensors: dict[str, Tensor] = {}
        rows, held = [], list[HookPoint]()
        for point in [p for p in store.points if p in wanted]:
            declared = context.adapter.info.pathway(point.pathway).calls_per_chunk
            sums = self._sums(context, store, point, by_call=declared is not None)
            edits |= self._edits(context, point, sums, tensors)
            held.append(point)
            moments = sum(s.moments for s in sums.values())
            rows.append((f"`{point}`", moments, len(sums), _lengths(sums)))
        write_atomically(context.folder / _FILE, save(tensors))
        table = Table(
            title="Means",
            caption=f"Over every moment of {', '.join(f'`{a}`' for a in self.arms)}, call by call.",
            columns=("hook point", "moments", "calls", "tokens"),
            rows=tuple(rows),
            folded=True,
        )
        for glob in self.at:
            edits |= _joined(glob, _matched(context, (glob,)), held, edits)
        return AnalysisResult(edits=edits, data=data, blocks=(table,))

    def _sums(
        self, context: AnalysisContext, store: ActivationStore, point: HookPoint, *, by_call: bool
    ) -> dict[int | None, _Sum]:
        """By call of the chunk, because denoising steps are not alike; else all in one."""
        found: dict[int | None, _Sum] = {}
        for arm in self.arms:
            for call, value in _values(store, point, context.where(arm)):
                found.setdefault(call if by_call else None, _Sum()).add(value)
        if not found:
            raise UnusableActivations(f"{', '.join(self.arms)} recorded nothing at {point}")
        if not all(torch.isfinite(s.mean).all() for s in found.values()):
            raise UnusableActivations(f"the mean at {point} is not finite")
        return found

    def _edits(
        self,
        context: AnalysisContext,
        point: HookPoint,
        sums: Mapping[int | None, _Sum],
        tensors: dict[str, Tensor],
    ) -> dict[str, tuple[dict[str, Any], ...]]:
        """The point's edits; what they read is put among `tensors`."""
        at, path = str(point), context.folder / _FILE
        mean: list[dict[str, Any]] = []
        positions: list[dict[str, Any]] = []
        for call, total in sums.items():
            where: dict[str, Any] = {"kind": "mean_ablate", "at": [at]}
            where |= {} if call is None else {"calls": [call]}
            key = f"{at}/{call}"
            tensors[key] = total.mean.float()
            mean.append({**where, "means": {at: f"{path}#{key}"}})
            if total.by_position is not None:
                tensors[f"{key}{PER_TOKEN}"] = total.by_position.float()
                positions.append({**where, "means": {at: f"{path}#{key}{PER_TOKEN}"}})
        resample = {
            "kind": "resample_ablate",
            "at": [at],
            "source": {"store": str(context.run_dir / "activations")},
            "donors": [f"{arm}/*" for arm in self.arms],
            "late": "last",
            "seed": self.seed,
        }
        found = {f"mean:{at}": tuple(mean), f"resample:{at}": (resample,)}
        if len(positions) == len(mean):
            found[f"mean_per_token:{at}"] = tuple(positions)
        return found


@dataclass
class _Sum:
    """Sums over moments, float64 (tokens, width), by number of tokens."""

    by_length: dict[int, Tensor] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)

    def add(self, value: Tensor) -> None:
        """One moment."""
        before = self.by_length.get(len(value))
        self.by_length[len(value)] = value if before is None else before + value
        self.counts[len(value)] += 1

    @property
    def moments(self) -> int:
        return self.counts.total()

    @property
    def mean(self) -> Tensor:
        """Over all tokens, (width,)."""
        tokens = sum(length * n for length, n in self.counts.items())
        return torch.stack([s.sum(0) for s in self.by_length.values()]).sum(0) / tokens

    @property
    def by_position(self) -> Tensor | None:
        """Per token position, (tokens, width); None where moments differ in length."""
        if len(self.by_length) > 1:
            return None
        ((length, total),) = self.by_length.items()
        return total / self.counts[length]


def _lengths(sums: Mapping[int | None, _Sum]) -> str:
    lengths = sorted({n for s in sums.values() for n in s.by_length})
    return str(lengths[0]) if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"


def _joined(
    glob: str,
    points: Sequence[HookPoint],
    held: Sequence[HookPoint],
    edits: Mapping[str, tuple[dict[str, Any], ...]],
) -> dict[str, tuple[dict[str, Any], ...]]:
    """`mean:GLOB` and the like: the edits of all its points, where every point has them."""
    found = {}
    for what in ("mean", "mean_per_token", "resample"):
        keys = [f"{what}:{p}" for p in points if p in held]
        if keys and all(key in edits for key in keys):
            found[f"{what}:{glob}"] = tuple(edit for key in keys for edit in edits[key])
    return found


def _matched(context: AnalysisContext, globs: tuple[str, ...]) -> list[HookPoint]:
    from vlascope.study.depth import expand_depth

    return context.adapter.match(expand_depth(globs, context.adapter.info.pathways))


def _values(store: ActivationStore, point: HookPoint, where: Where) -> Iterator[tuple[int, Tensor]]:
    """Every moment's call and tokens, float64 (tokens, width); memory holds one episode."""
    for rows in store.by_unit(point, where):
        coordinates = np.stack([rows.column(c) for c in ("episode", "step", "chunk", "call")], 1)
        new = np.flatnonzero((coordinates[1:] != coordinates[:-1]).any(1)) + 1
        for part in np.split(np.arange(len(rows)), new):
            yield int(coordinates[part[0], 3]), rows.values[part[0] : part[-1] + 1].double()
