"""Control tasks: the same labels with the same structure, dealt to moments they do not belong to.

A probe that does well on them learns from structure (time, episode identity, sheer capacity) and
not from what the activation says (Hewitt & Liang 2019, arXiv 1909.03368).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from vlascope_probes.linear.targets import Target, present

__all__ = ["shuffled"]

Track = npt.NDArray[np.generic]


def shuffled(target: Target, rng: np.random.Generator) -> Target:
    """The target with its labels dealt out anew, as `target.shuffle` says; gaps stay gaps.

    What is dealt is worked out when it is asked for, so that a shuffle costs no memory.
    """
    names = [n for n, track in target.tracks.items() if present(track).any()]
    if target.shuffle == "turn":
        shifts = {n: int(rng.integers(len(target.tracks[n]))) for n in names}
        return replace(target, tracks=_Turned(target.tracks, shifts))
    order = rng.permutation(len(names))
    giver = {name: names[order[i]] for i, name in enumerate(names)}
    return replace(target, tracks=_Dealt(target.tracks, giver))


class _Shuffle(Mapping[str, Track]):
    """Tracks by episode, each worked out anew."""

    def __init__(self, tracks: Mapping[str, Track]) -> None:
        self._tracks = tracks

    def __iter__(self) -> Iterator[str]:
        return iter(self._tracks)

    def __len__(self) -> int:
        return len(self._tracks)

    def __getitem__(self, name: str) -> Track:
        own = self._tracks[name]
        there = present(own)
        if there.any():
            own = own.copy()
            own[there] = self._values(name, own[there])
        return own

    def _values(self, name: str, own: Track) -> Track:
        raise NotImplementedError


class _Dealt(_Shuffle):
    """Every episode gets another one's course, run through evenly from its first value to last."""

    def __init__(self, tracks: Mapping[str, Track], giver: Mapping[str, str]) -> None:
        super().__init__(tracks)
        self._giver = giver

    def _values(self, name: str, own: Track) -> Track:
        other = self._tracks[self._giver[name]]
        values = other[present(other)]
        return values[np.round(np.linspace(0, len(values) - 1, len(own))).astype(int)]


class _Turned(_Shuffle):
    """Every episode's course begins elsewhere."""

    def __init__(self, tracks: Mapping[str, Track], shifts: Mapping[str, int]) -> None:
        super().__init__(tracks)
        self._shifts = shifts

    def _values(self, name: str, own: Track) -> Track:
        return np.roll(own, self._shifts[name])
