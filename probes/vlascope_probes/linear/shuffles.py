"""Control tasks: the same labels with the same structure, dealt to moments they do not belong to.

A probe that does well on them learns from structure (time, episode identity, sheer capacity) and
not from what the activation says (Hewitt & Liang 2019, arXiv 1909.03368).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from vlascope_probes.linear.targets import Target, present

__all__ = ["shuffled"]


def shuffled(target: Target, rng: np.random.Generator) -> Target:
    """The target with its labels dealt out anew, as `target.shuffle` says; gaps stay gaps."""
    names = [n for n, track in target.tracks.items() if present(track).any()]
    order = rng.permutation(len(names))
    dealt = dict(target.tracks)
    for i, name in enumerate(names):
        own, other = target.tracks[name], target.tracks[names[order[i]]]
        if target.shuffle == "turn":
            values = np.roll(own[present(own)], int(rng.integers(len(own))))
        else:
            values = _stretched(other[present(other)], int(present(own).sum()))
        dealt[name] = own.copy()
        dealt[name][present(own)] = values
    return replace(target, tracks=dealt)


def _stretched(values: npt.NDArray[np.generic], length: int) -> npt.NDArray[np.generic]:
    """A course of another length, run through evenly from its first value to its last."""
    return values[np.round(np.linspace(0, len(values) - 1, length)).astype(int)]
