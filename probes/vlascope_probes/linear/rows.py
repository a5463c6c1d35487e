"""Activations as probe rows: one per moment (or token), with the episode and step it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from vlascope.errors import UnusableActivations
from vlascope.hooks import HookPoint
from vlascope.store import ActivationStore, Rows, Where
from vlascope_probes.linear.options import ProbeOptions
from vlascope_probes.linear.targets import Target

__all__ = ["Block", "Features", "HeldFeatures", "StoredFeatures", "values_at", "values_of"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows.

    Attributes:
        x: float32 (rows, width).
        episode: position in `Features.episodes`.
        step: environment step.
    """

    x: npt.NDArray[np.float32]
    episode: Ints
    step: Ints


class Features:
    """Rows that can be gone through again and again, in the same order."""

    episodes: tuple[str, ...]

    def blocks(self) -> Iterator[Block]:
        """All rows, some at a time."""
        raise NotImplementedError

    @cached_property
    def coordinates(self) -> tuple[Ints, Ints]:
        """Episode and step of every row."""
        pairs = [(b.episode, b.step) for b in self.blocks()]
        if not pairs:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


class HeldFeatures(Features):
    """Rows in memory."""

    def __init__(self, episodes: Sequence[str], block: Block) -> None:
        self.episodes, self.block = tuple(episodes), block

    def blocks(self) -> Iterator[Block]:
        """One block."""
        yield self.block

    @classmethod
    def of_tracks(
        cls, tracks: Mapping[str, npt.NDArray[np.float64]], like: Features
    ) -> HeldFeatures:
        """What holds at the same moments: tracks by episode, (steps + 1, n), as rows."""
        episode, step = like.coordinates
        x = np.stack([tracks[like.episodes[e]][s] for e, s in zip(episode, step, strict=True)])
        return cls(like.episodes, Block(x.astype(np.float32), episode, step))


class StoredFeatures(Features):
    """The rows of one hook point of a store, read anew at every pass, one unit at a time.

    Args:
        store: where they are.
        point: which.
        episodes: whose rows; others are passed over.
        options: which tokens, how pooled, which call.

    Raises:
        UnusableActivations: no row is left, or a row is not finite.
    """

    def __init__(
        self,
        store: ActivationStore,
        point: HookPoint,
        episodes: Sequence[str],
        options: ProbeOptions,
    ) -> None:
        self._store, self._point, self._options = store, point, options
        self.episodes = tuple(episodes)
        self._number = {name: i for i, name in enumerate(self.episodes)}

    def blocks(self) -> Iterator[Block]:
        """A block per stored unit."""
        where = Where(spans=self._options.spans_at(self._point))
        found = False
        for rows in self._store.by_unit(self._point, where):
            block = self._block(rows)
            if len(block.x):
                found = True
                yield block
        if not found:
            raise UnusableActivations(
                f"{self._point}: the store {self._store.path} holds no row of the "
                f"{len(self.episodes)} episodes with tokens {where.spans}, call "
                f"{self._options.call}; it carries {_spans(self._store)}"
            )

    def held(self) -> HeldFeatures:
        """The same in memory."""
        blocks = list(self.blocks())
        whole = Block(
            np.concatenate([b.x for b in blocks]),
            np.concatenate([b.episode for b in blocks]),
            np.concatenate([b.step for b in blocks]),
        )
        return HeldFeatures(self.episodes, whole)

    @property
    def megabytes(self) -> float:
        """What holding every stored row of the point would take at most, in 10^6 bytes."""
        entries = [u.points.get(str(self._point)) for u in self._store.units]
        return sum(e.rows * e.width * 4 for e in entries if e is not None) / 1e6

    def _block(self, rows: Rows) -> Block:
        number = np.array([self._number.get(n, -1) for n in rows.episodes], np.int64)
        episode = number[rows.column("episode")]
        keep = np.flatnonzero((episode >= 0) & self._called(rows))
        rows, episode = rows.take(keep), episode[keep]
        x = rows.values.to(torch.float32).numpy()
        if not np.isfinite(x).all():
            raise UnusableActivations(f"{self._point}: an activation is not finite; record it anew")
        step = rows.column("step").astype(np.int64)
        if self._options.pool == "none" or not len(x):
            return Block(x, episode, step)
        key = np.stack([episode, step, rows.column("chunk"), rows.column("call")])
        starts = np.flatnonzero(np.any(np.diff(key, prepend=key[:, :1] - 1), axis=0))
        return Block(_pooled(x, starts, self._options.pool), episode[starts], step[starts])

    def _called(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Whether each row is of the wanted call; -1 is each chunk's last."""
        call, wanted = rows.column("call"), self._options.call
        if wanted >= 0:
            return call == wanted
        chunk = np.stack([rows.column("episode"), rows.column("chunk")], axis=1)
        _, of = np.unique(chunk, axis=0, return_inverse=True)
        last = np.zeros(of.max(initial=-1) + 1, np.int64)
        np.maximum.at(last, of.ravel(), call)
        return call == last[of.ravel()] + 1 + wanted


def _pooled(x: npt.NDArray[np.float32], starts: Ints, pool: str) -> npt.NDArray[np.float32]:
    """Rows that follow one another from each start to the next, reduced to one."""
    stops = np.append(starts[1:], len(x))
    if pool == "last":
        return x[stops - 1]
    if pool == "max":
        return np.maximum.reduceat(x, starts, axis=0)
    sums = np.add.reduceat(x.astype(np.float64), starts, axis=0)
    return (sums / (stops - starts)[:, None]).astype(np.float32)


def values_of(target: Target, features: Features) -> npt.NDArray[np.generic]:
    """The target's value at every row; NaN or None where it has none there."""
    episode, step = features.coordinates
    return values_at(target, features.episodes, episode, step)


def values_at(
    target: Target, episodes: Sequence[str], episode: Ints, step: Ints
) -> npt.NDArray[np.generic]:
    """The same for rows of these coordinates."""
    gap: object = np.nan if target.kind == "regression" else None
    found = np.full(len(episode), gap, float if target.kind == "regression" else object)
    order = np.argsort(episode, kind="stable")
    numbers, starts = np.unique(episode[order], return_index=True)
    for number, rows in zip(numbers, np.split(order, starts[1:]), strict=True):
        track = target.tracks.get(episodes[int(number)])
        if track is not None:
            rows = rows[step[rows] < len(track)]
            found[rows] = track[step[rows]]
    return found


def _spans(store: ActivationStore) -> list[str]:
    return sorted({span for unit in store.units for span in unit.spans})
