"""Robots with several hands: none of them is taken for an object."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vlascope.rollout.messages import Begin, Execute, Finished
from vlascope.rollout.playing import Playing
from vlascope.types import Pose
from vlascope_benchmarks.toy.env import ToyBenchmark


class TwoHanded(ToyBenchmark):
    """A second hand that stays one metre above the first."""

    def scene_state(self) -> Mapping[str, Pose]:
        found = super().scene_state()
        above = found["end_effector"].position + np.array([0, 0, 1.0])
        return {**found, "end_effector.left": Pose(above)}


def test_the_tracks_of_every_hand_are_kept_apart_from_those_of_objects() -> None:
    env = TwoHanded()
    task = env.tasks()[0].name
    playing = Playing(env, Begin(0, task, seed=1, max_steps=5, stop_on_success=False, film=None))
    playing.begin()
    move = np.ones((1, env.info.action.dim), np.float32)
    finished = playing.execute(Execute(0, move, last=True))
    assert isinstance(finished, Finished)
    arrays = finished.trace.arrays
    assert {"end_effector", "end_effector.left"} < arrays.keys()
    assert not any(name.startswith("object.end_effector") for name in arrays)
    gap = arrays["end_effector.left"] - arrays["end_effector"]
    np.testing.assert_allclose(gap, [[0, 0, 1], [0, 0, 1]])
