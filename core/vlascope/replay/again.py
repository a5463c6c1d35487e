"""A finished episode played again: the same actions from the same task and seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from vlascope.benchmark import BenchmarkEnv
from vlascope.errors import CapabilityMissing, MisalignedActivations
from vlascope.records import EpisodeRecord
from vlascope.rollout.arrays import EpisodeArrays
from vlascope.rollout.timelines import CONFIGURATION

__all__ = ["ASTRAY", "play_again", "show_again"]

ASTRAY: Final = 1e-3
"""Metres by which a replayed hand may be off before the replay is refused."""


def play_again(
    env: BenchmarkEnv, record: EpisodeRecord, arrays: EpisodeArrays, *, last: int | None = None
) -> Iterator[int]:
    """Step `env` through an episode; whenever a step is given, the scene is that of the step.

    Args:
        env: the benchmark that the record names; renders nothing unless it is asked to.
        record: the episode.
        arrays: what it left.
        last: the last step to reach, 0 being the start; None for all.

    Raises:
        MisalignedActivations: it goes elsewhere than the recorded one did.
    """
    plan = record.plan
    last = len(arrays.actions) if last is None else last
    env.start(env.task(plan.task), seed=plan.seed)
    for step in range(last + 1):
        _compare(env, record, arrays, step)
        yield step
        if step < len(arrays.actions):
            env.step(arrays.actions[step])


def show_again(
    env: BenchmarkEnv, record: EpisodeRecord, arrays: EpisodeArrays, steps: Iterable[int]
) -> Iterator[int]:
    """Put the scene of `env` as it was kept at each of `steps`; nothing is stepped.

    Raises:
        MisalignedActivations: what is kept does not fit this simulator's scene, or it puts the hand
            elsewhere than it was recorded.
    """
    plan, kept = record.plan, arrays[CONFIGURATION]
    env.start(env.task(plan.task), seed=plan.seed)
    for step in steps:
        try:
            env.show(kept[step])
        except ValueError as error:
            raise MisalignedActivations(f"{record.plan.episode}: {error}") from error
        _compare(env, record, arrays, step)
        yield step


def _compare(env: BenchmarkEnv, record: EpisodeRecord, arrays: EpisodeArrays, step: int) -> None:
    """Refuse a replay that has left the recorded track of the hand."""
    track = arrays.get("end_effector")
    if track is None:
        return
    try:
        now = env.scene_state()["end_effector"].position
    except (CapabilityMissing, KeyError):
        return
    off = float(np.linalg.norm(np.asarray(now, np.float64) - track[step]))
    if not off <= ASTRAY:
        raise MisalignedActivations(
            f"replaying {record.plan.episode} of {record.benchmark}, the hand is {off:.4f} m from "
            f"where it was recorded at step {step}: this simulator is another version, or the "
            "benchmark was built with other options"
        )
