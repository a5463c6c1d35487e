"""Folds of whole episodes, or of whole tasks: no episode is on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlascope.errors import UnusableActivations

__all__ = ["Split", "by_episode", "by_task"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """The fold of every row; -1 leaves it out."""

    fold: Ints
    count: int


def by_episode(
    episode: Ints,
    usable: npt.NDArray[np.bool_],
    folds: int,
    seed: int,
    labels: Sequence[object] = (),
) -> Split:
    """Episodes dealt to folds; stratified where each has a label.

    Args:
        episode: of every row.
        usable: which rows count.
        folds: at most so many; never more than episodes (or than the rarest label's episodes).
        seed: of the dealing.
        labels: one per row, for classification.

    Raises:
        UnusableActivations: fewer than two episodes.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    rows = np.flatnonzero(usable)
    groups = episode[rows]
    episodes = len(np.unique(groups))
    if episodes < 2:
        raise UnusableActivations(
            f"a probe needs at least 2 episodes to be judged on one it has not seen; got {episodes}"
        )
    found = np.full(len(episode), -1, np.int64)
    count = min(folds, episodes)
    if len(labels):
        codes = np.unique([str(labels[r]) for r in rows], return_inverse=True)[1]
        spread = min(len(np.unique(groups[codes == c])) for c in range(codes.max() + 1))
        count = max(2, min(count, spread))
        dealer = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        parts = dealer.split(rows, codes, groups)
    else:
        parts = GroupKFold(count, shuffle=True, random_state=seed).split(rows, groups=groups)
    for k, (_, test) in enumerate(parts):
        found[rows[test]] = k
    return Split(found, count)


def by_task(
    episode: Ints, usable: npt.NDArray[np.bool_], tasks: Mapping[int, str], folds: int
) -> Split | None:
    """Tasks dealt to folds, each whole; None with fewer than two tasks."""
    present = [e for e in np.unique(episode[usable]) if e in tasks]
    names = sorted({tasks[e] for e in present})
    if len(names) < 2:
        return None
    count = min(folds, len(names))
    fold_of = {e: names.index(tasks[e]) % count for e in present}
    found = np.full(len(episode), -1, np.int64)
    for e, k in fold_of.items():
        found[(episode == e) & usable] = k
    return Split(found, count)
