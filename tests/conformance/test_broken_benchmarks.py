"""Each benchmark check can fail: one broken benchmark per promise."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from vlascope import conformance
from vlascope.errors import CapabilityMissing
from vlascope.types import Observation
from vlascope_benchmarks.toy.env import ToyBenchmark


class TwoOfOneName(ToyBenchmark):
    @classmethod
    def suites(cls):
        suites = super().suites()
        return {**suites, "more": (replace(suites["unique"][0], instruction="stay"),)}


class OtherName(ToyBenchmark):
    def __init__(self):
        super().__init__()
        self.info = replace(self.info, name="another")


class CountsEpisodes(ToyBenchmark):
    episodes = 0

    def start(self, task, *, seed):
        self.episodes += 1
        super().start(task, seed=seed + self.episodes)


class IgnoresTheSeed(ToyBenchmark):
    def start(self, task, *, seed):
        super().start(task, seed=0)


class UnseededWind(ToyBenchmark):
    def step(self, action):
        return super().step(action + np.random.default_rng().normal(size=2).astype(np.float32))


class NumpyFlags(ToyBenchmark):
    def step(self, action):
        result = super().step(action)
        return replace(result, success=np.bool_(result.success))


class NeverEnds(ToyBenchmark):
    def step(self, action):
        return replace(super().step(action), truncated=False)


class LazyExpert(ToyBenchmark):
    def expert(self):
        return np.zeros(2, dtype=np.float32)


class NoExpert(ToyBenchmark):
    def expert(self):
        raise CapabilityMissing("no expert here")


class NoScene(ToyBenchmark):
    def scene_state(self):
        return {n: p for n, p in super().scene_state().items() if n != "end_effector"}


class FrozenScene(ToyBenchmark):
    def reset(self, task, *, seed):
        seen = super().reset(task, seed=seed)
        self.kept = super().scene_state()
        return seen

    def scene_state(self):
        return self.kept


class FeelsSomethingElse(ToyBenchmark):
    def proprioception(self):
        return {"position": np.zeros(2, np.float32)}

    def sense(self):
        return replace(super().sense(), state={"position": self._position.astype(np.float32)})


class ClosesOnce(ToyBenchmark):
    closed = False

    def close(self):
        if self.closed and self._task is None:
            raise RuntimeError("already closed")
        self.closed = self._task is not None
        super().close()


class WrongSize(ToyBenchmark):
    def sense(self):
        seen = super().sense()
        return replace(seen, images={n: i[:8] for n, i in seen.images.items()})


class TakesAnything(ToyBenchmark):
    def step(self, action):
        return super().step(np.asarray(action)[:2])


class MovesWhenSeen(ToyBenchmark):
    def sense(self) -> Observation:
        self._position = self._position * 0.9
        return super().sense()


class CannotBePerturbed(ToyBenchmark):
    def observe(self):
        return self.sense()


class FloatFrame(ToyBenchmark):
    def frame(self):
        return super().frame() / 255


class ForgetsWhereItWas(ToyBenchmark):
    def configuration(self):
        return super().configuration() * 0


BROKEN = [
    (TwoOfOneName, "tasks_named_uniquely", "unique"),
    (OtherName, "benchmark_info_is_json", "another"),
    (CountsEpisodes, "reset_is_seeded", "generator made from `seed`"),
    (IgnoresTheSeed, "reset_is_seeded", "let `seed` decide"),
    (UnseededWind, "steps_are_seeded", "generator made from `seed`"),
    (NumpyFlags, "steps_say_what_they_should", "bool"),
    (NeverEnds, "steps_say_what_they_should", "truncate"),
    (LazyExpert, "success_reachable", "max_steps"),
    (NoExpert, "success_reachable", "expected_failures"),
    (NoScene, "scene_state_present", "end_effector"),
    (FrozenScene, "scene_state_present", "read it anew"),
    (FeelsSomethingElse, "proprioception_is_what_is_sensed", "same numbers"),
    (ClosesOnce, "close_twice", "forget"),
    (WrongSize, "observation_matches_info", "make them agree"),
    (TakesAnything, "specs_are_honest", "ValueError"),
    (MovesWhenSeen, "observing_is_pure", "change nothing"),
    (CannotBePerturbed, "perturbed_image_reaches_the_observation", "sense"),
    (FloatFrame, "frame_is_a_picture", "uint8"),
    (ForgetsWhereItWas, "kept_configuration_is_drawn", "keep all that moves"),
]


@pytest.mark.parametrize(("cls", "code", "advice"), BROKEN, ids=lambda v: getattr(v, "__name__", v))
def test_a_broken_benchmark_fails_its_check_and_is_told_what_to_do(cls, code, advice):
    (result,) = conformance.check_benchmark(cls, only=[code])
    assert result.status == "fail"
    assert re.search(advice, result.message), result.message


def test_every_benchmark_check_is_proven_to_fail():
    proven = {code for _, code, _ in BROKEN} | {"listing_imports_no_torch"}  # test_plugins.py
    assert proven == {check.code for check in conformance.BENCHMARK_CHECKS}
