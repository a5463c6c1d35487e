"""What is measured of an episode, alone or beside its paired baseline and its source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from vlascope.study.played import Floats, Played

__all__ = ["METRICS", "Metric", "Trio", "behaviour", "cosine", "override_verdict"]


@dataclass(frozen=True)
class Trio:
    """An episode and what it is measured against.

    Attributes:
        episode: what happened.
        own: the baseline's episode of the same task and seed.
        source: the source task's episode, where the arm has one.
        watched: (scene, condition) pairs that this study's episodes report.
        margin: difference of cosines within which an override is ambiguous.
    """

    episode: Played
    own: Played | None = None
    source: Played | None = None
    watched: Collection[tuple[str, str]] = ()
    margin: float = 0.05


@dataclass(frozen=True)
class Metric:
    """A number per episode; None where it does not apply or was not measured.

    Attributes:
        label: as tables head it.
        unit: `share` for yes/no, else a physical unit or `1`.
        binary: whether values are 0 or 1.
        needs: what it cannot do without.
        meaning: one sentence.
    """

    label: str
    unit: str
    binary: bool
    needs: str
    meaning: str
    measure: Callable[[Trio], float | None]


def behaviour(episode: Played, names: Collection[str]) -> str | None:
    """Which of the named conditions came true first, or None where none did."""
    steps = {n: s for n, s in episode.fulfilled().items() if n in names}
    return min(steps, key=lambda n: (steps[n], n != episode.record.plan.task, n), default=None)


def cosine(a: Floats, b: Floats) -> float | None:
    """Cosine of two arrays of rows, flattened over their common rows; None for a zero vector."""
    n = min(len(a), len(b))
    x, y = a[:n].ravel(), b[:n].ravel()
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y / norms) if norms > 1e-12 else None


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


def _success(trio: Trio) -> float | None:
    return None if trio.episode.record.success is None else float(trio.episode.record.success)


def _goal(trio: Trio, task: str) -> float | None:
    record = trio.episode.record
    if (record.scene, task) not in trio.watched:
        return _success(trio) if task == record.plan.task else None
    return float(task in trio.episode.fulfilled())


def _own_goal(trio: Trio) -> float | None:
    return _goal(trio, trio.episode.record.plan.task)


def _source_goal(trio: Trio) -> float | None:
    if trio.source is None or trio.source.record.plan.task == trio.episode.record.plan.task:
        return None
    return _goal(trio, trio.source.record.plan.task)


def _paths(*episodes: Played | None) -> list[Floats] | None:
    """End-effector paths cut to their common steps, in metres; None where one is unknown."""
    paths = [e.hand if e is not None else None for e in episodes]
    known = [p for p in paths if p is not None]
    if len(known) < len(paths):
        return None
    n = min(len(p) for p in known)
    return [p[:n] for p in known]


def _mean_displacement(trio: Trio) -> float | None:
    paths = _paths(trio.episode, trio.own)
    return None if paths is None else float(np.linalg.norm(paths[0] - paths[1], axis=1).mean())


def _final_displacement(trio: Trio) -> float | None:
    paths = _paths(trio.episode, trio.own)
    return None if paths is None else float(np.linalg.norm(paths[0][-1] - paths[1][-1]))


def _action_cosine(trio: Trio) -> float | None:
    if trio.own is None or trio.episode.actions is None or trio.own.actions is None:
        return None
    return cosine(trio.episode.actions, trio.own.actions)


def _velocity_cosine(trio: Trio) -> float | None:
    paths = _paths(trio.episode, trio.own)
    return None if paths is None else cosine(np.diff(paths[0], axis=0), np.diff(paths[1], axis=0))


def _trio_paths(trio: Trio) -> list[Floats] | None:
    if trio.source is None or trio.source.record.plan.task == trio.episode.record.plan.task:
        return None
    return _paths(trio.episode, trio.source, trio.own)


def _cosines(trio: Trio) -> tuple[float, float] | None:
    """To the source's velocities, and to the own baseline's."""
    paths = _trio_paths(trio)
    if paths is None:
        return None
    here, source, own = (np.diff(p, axis=0) for p in paths)
    to_source, to_own = cosine(here, source), cosine(here, own)
    return None if to_source is None or to_own is None else (to_source, to_own)


def _override(trio: Trio) -> float | None:
    paths = _trio_paths(trio)
    if paths is None:
        return None
    here, source, own = paths
    to_source = np.linalg.norm(here - source, axis=1).mean()
    return float(to_source < np.linalg.norm(here - own, axis=1).mean())


def _override_margin(trio: Trio) -> float | None:
    verdict = override_verdict(trio)
    return None if verdict is None else float(verdict == "source")


METRICS: Final[Mapping[str, Metric]] = {
    "success": Metric(
        "success", "share", True, "", "The benchmark's verdict on the episode's own task.", _success
    ),
    "own_goal": Metric(
        "own goal reached",
        "share",
        True,
        "",
        "The task's own condition came true at some step.",
        _own_goal,
    ),
    "source_goal": Metric(
        "source goal reached",
        "share",
        True,
        "source",
        "The source task's condition came true at some step of this episode.",
        _source_goal,
    ),
    "displacement": Metric(
        "mean end-effector displacement",
        "m",
        False,
        "baseline",
        "Distance of the end effector from the paired baseline, mean over common steps.",
        _mean_displacement,
    ),
    "final_displacement": Metric(
        "final end-effector displacement",
        "m",
        False,
        "baseline",
        "Distance of the end effector from the paired baseline at the last common step.",
        _final_displacement,
    ),
    "action_cosine": Metric(
        "action cosine (flattened)",
        "1",
        False,
        "baseline",
        "Cosine to the paired baseline's actions, flattened over common steps.",
        _action_cosine,
    ),
    "velocity_cosine": Metric(
        "end-effector-velocity cosine",
        "1",
        False,
        "baseline",
        "Cosine to the paired baseline's end-effector velocities, flattened over common steps.",
        _velocity_cosine,
    ),
    "override": Metric(
        "override (path nearer to source)",
        "share",
        True,
        "source",
        "The path is nearer, by mean distance, to the source task's than to the own baseline's.",
        _override,
    ),
    "override_margin": Metric(
        "override (velocity cosine, margin)",
        "share",
        True,
        "source",
        "Velocities are more like the source task's than the own baseline's, beyond the margin.",
        _override_margin,
    ),
}
"""Every metric a finding may name."""
