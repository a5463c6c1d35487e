"""What each metric computes; `vlascope.study.metrics.METRICS` says what it means."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from vlascope.study.played import Floats, Played
from vlascope.study.trio import Trio, cosine, foreign, paths

FEWEST_UNRELATED: Final = 5
"""With fewer unrelated episodes a rank among them says nothing."""
MOVED: Final = 0.01
"""Metres beyond which an object counts as moved (arXiv 2603.19233)."""


def behaviour(episode: Played, names: Collection[str]) -> str | None:
    """Which of the named conditions came true first, or None where none did."""
    steps = {n: s for n, s in episode.fulfilled().items() if n in names}
    return min(steps, key=lambda n: (steps[n], n != episode.record.plan.task, n), default=None)


def override_verdict(trio: Trio) -> str | None:
    """`source`, `destination` or `ambiguous`: whose end-effector velocities these are like.

    Cosines of flattened velocities over the steps common to all three (arXiv 2603.19233 compares
    cosines with the same margin); None without a source from another task.
    """
    cosines = _cosines(trio)
    if cosines is None:
        return None
    to_source, to_own = cosines
    if abs(to_source - to_own) <= trio.margin:
        return "ambiguous"
    return "source" if to_source > to_own else "destination"


def success(trio: Trio) -> float | None:
    """The benchmark's verdict."""
    return None if trio.episode.record.success is None else float(trio.episode.record.success)


def _goal(trio: Trio, task: str) -> float | None:
    record = trio.episode.record
    if (record.scene, task) not in trio.watched:
        return success(trio) if task == record.plan.task else None
    return float(task in trio.episode.fulfilled())


def own_goal(trio: Trio) -> float | None:
    """Whether the task's own condition came true."""
    return _goal(trio, trio.episode.record.plan.task)


def source_goal(trio: Trio) -> float | None:
    """Whether the source task's condition came true."""
    if trio.source is None or trio.source.record.plan.task == trio.episode.record.plan.task:
        return None
    return _goal(trio, trio.source.record.plan.task)


def mean_displacement(trio: Trio) -> float | None:
    """Metres, mean over common steps."""
    found = paths(trio.episode, trio.own)
    return None if found is None else float(np.linalg.norm(found[0] - found[1], axis=1).mean())


def final_displacement(trio: Trio) -> float | None:
    """Metres, at the last common step."""
    found = paths(trio.episode, trio.own)
    return None if found is None else float(np.linalg.norm(found[0][-1] - found[1][-1]))


def action_cosine(trio: Trio) -> float | None:
    """Over actions flattened."""
    if trio.own is None or trio.episode.actions is None or trio.own.actions is None:
        return None
    return cosine(trio.episode.actions, trio.own.actions)


def velocity_cosine(trio: Trio) -> float | None:
    """Over end-effector velocities flattened."""
    found = paths(trio.episode, trio.own)
    return None if found is None else cosine(np.diff(found[0], axis=0), np.diff(found[1], axis=0))


def _trio_paths(trio: Trio) -> list[Floats] | None:
    """Of the episode, a source that was after something else, and the own baseline."""
    return paths(trio.episode, trio.source, trio.own) if foreign(trio) else None


def _cosines(trio: Trio) -> tuple[float, float] | None:
    """To the source's velocities, and to the own baseline's."""
    found = _trio_paths(trio)
    if found is None:
        return None
    here, source, own = (np.diff(p, axis=0) for p in found)
    to_source, to_own = cosine(here, source), cosine(here, own)
    return None if to_source is None or to_own is None else (to_source, to_own)


def override(trio: Trio) -> float | None:
    """Whether the path is nearer to the source's."""
    found = _trio_paths(trio)
    if found is None:
        return None
    here, source, own = found
    to_source = np.linalg.norm(here - source, axis=1).mean()
    return float(to_source < np.linalg.norm(here - own, axis=1).mean())


def override_margin(trio: Trio) -> float | None:
    """Whether velocities are more like the source's, beyond the margin."""
    verdict = override_verdict(trio)
    return None if verdict is None else float(verdict == "source")


def override_strict(trio: Trio) -> float | None:
    """Whether velocities are more like the source's, by however little."""
    cosines = _cosines(trio)
    return None if cosines is None else float(cosines[0] > cosines[1])


def override_ambiguous(trio: Trio) -> float | None:
    """Whether the two cosines lie within the margin."""
    verdict = override_verdict(trio)
    return None if verdict is None else float(verdict == "ambiguous")


def action_cosine_mean(trio: Trio) -> float | None:
    """Cosine step by step, mean over the common steps at which neither action is zero."""
    if trio.own is None or trio.episode.actions is None or trio.own.actions is None:
        return None
    n = min(len(trio.episode.actions), len(trio.own.actions))
    a, b = trio.episode.actions[:n], trio.own.actions[:n]
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    moving = norms > 1e-12
    return float(((a * b).sum(1)[moving] / norms[moving]).mean()) if moving.any() else None


def source_alignment(trio: Trio) -> float | None:
    """Velocity cosine to the source's episode."""
    return _alignment(trio.episode, trio.source) if foreign(trio) else None


def source_alignment_rank(trio: Trio) -> float | None:
    """Share of unrelated episodes that this one is less like than its source; ties count half."""
    found = source_alignment(trio)
    others = [_alignment(trio.episode, other) for other in trio.unrelated]
    null = np.array([value for value in others if value is not None])
    if found is None or len(null) < FEWEST_UNRELATED:
        return None
    return float((null < found).mean() + (null == found).mean() / 2)


def object_moved(trio: Trio) -> float | None:
    """Metres between first and last position of the object that moved most."""
    tracks = list(trio.episode.objects.values())
    return _largest([track[-1] - track[0] for track in tracks])


def objects_disturbed(trio: Trio) -> float | None:
    """Whether any object ended more than `MOVED` from where it began."""
    moved = object_moved(trio)
    return None if moved is None else float(moved > MOVED)


def object_displacement(trio: Trio) -> float | None:
    """Metres between an object's last positions here and in the baseline, the largest."""
    if trio.own is None:
        return None
    theirs = trio.own.objects
    ends = [track[-1] - theirs[n][-1] for n, track in trio.episode.objects.items() if n in theirs]
    return _largest(ends)


def hand_speed(trio: Trio) -> float | None:
    """Millimetres per environment step, mean."""
    hand = trio.episode.hand
    if hand is None or len(hand) < 2:
        return None
    return float(1000 * np.linalg.norm(np.diff(hand, axis=0), axis=1).mean())


def hand_height(trio: Trio) -> float | None:
    """Metres in the world frame, mean."""
    return None if trio.episode.hand is None else float(trio.episode.hand[:, 2].mean())


def _alignment(episode: Played, other: Played | None) -> float | None:
    found = paths(episode, other)
    return None if found is None else cosine(np.diff(found[0], axis=0), np.diff(found[1], axis=0))


def _largest(vectors: Sequence[Floats]) -> float | None:
    lengths = [float(np.linalg.norm(v)) for v in vectors if np.isfinite(v).all()]
    return max(lengths, default=None)
