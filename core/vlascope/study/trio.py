"""An episode beside what it is measured against, and how alike two episodes are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from vlascope.study.played import Floats, Played

__all__ = ["Trio", "cosine", "foreign", "paths"]


@dataclass(frozen=True)
class Trio:
    """An episode and what it is measured against.

    Attributes:
        episode: what happened.
        own: the baseline's episode of the same task and seed.
        source: the source task's episode, where the arm has one.
        watched: (scene, condition) pairs that this study's episodes report.
        margin: difference of cosines within which an override is ambiguous.
        unrelated: baseline episodes of neither this task nor the source's, to say how alike any
            two episodes are.
    """

    episode: Played
    own: Played | None = None
    source: Played | None = None
    watched: Collection[tuple[str, str]] = ()
    margin: float = 0.05
    unrelated: Sequence[Played] = ()


def foreign(trio: Trio) -> bool:
    """Whether the source did something else: another task or seed, or told something else."""
    if trio.source is None:
        return False
    mine, theirs = trio.episode.record, trio.source.record
    if (mine.plan.task, mine.plan.seed) != (theirs.plan.task, theirs.plan.seed):
        return True
    return trio.own is not None and theirs.instruction != trio.own.record.instruction


def cosine(a: Floats, b: Floats) -> float | None:
    """Cosine of two arrays of rows, flattened over their common rows; None for a zero vector."""
    n = min(len(a), len(b))
    x, y = a[:n].ravel(), b[:n].ravel()
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y / norms) if norms > 1e-12 else None


def paths(*episodes: Played | None) -> list[Floats] | None:
    """End-effector paths cut to their common steps, in metres; None where one is unknown."""
    known = [e.hand for e in episodes if e is not None and e.hand is not None]
    if len(known) < len(episodes):
        return None
    n = min(len(p) for p in known)
    return [p[:n] for p in known]
