"""Collecting demonstrations: only successes are kept, labels are clean, files are whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from vlascope.benchmark import BenchmarkEnv, Task
from vlascope.types import FloatArray, Observation, Pose, StepResult
from vlascope_adapters.tinyvla.demonstrations import collect_task, load_demonstrations
from vlascope_adapters.tinyvla.recipe import DemoPlan, Recipe, load_recipe
from vlascope_benchmarks.metaworld.env import MetaWorld


class Corridor(BenchmarkEnv):
    """The hand walks along x; odd seeds never succeed."""

    name = "corridor"
    info = MetaWorld().info

    @classmethod
    def suites(cls) -> Mapping[str, tuple[Task, ...]]:
        return {"all": (Task("door-open", "walk"),)}

    def start(self, task: Task, *, seed: int) -> None:
        self.seed, self.hand = seed, np.zeros(3)

    def step(self, action: FloatArray) -> StepResult:
        self.hand = self.hand + action[:3]
        return StepResult(success=self.seed % 2 == 0 and float(self.hand[0]) > 5)

    def sense(self) -> Observation:
        picture = np.full((96, 96, 3), self.seed, np.uint8)
        return Observation("walk", {"corner2": picture}, {"hand": np.zeros(4, np.float32)})

    def scene_state(self) -> Mapping[str, Pose]:
        return {"end_effector": Pose(self.hand), "door": Pose(np.ones(3))}

    def expert(self) -> FloatArray:
        return np.array([1, 0, 0, -1], np.float32)


@pytest.fixture
def recipe() -> Recipe:
    bundled = load_recipe()
    task = bundled.tasks["door-open"].model_copy(update={"demos": 3})
    plan = DemoPlan(max_steps=40, landmarks=("door", "window"))
    return bundled.model_copy(update={"tasks": {"door-open": task}, "demonstrations": plan})


def test_keeps_successes_with_clean_labels(recipe, tmp_path):
    told = []
    path = collect_task(Corridor(), recipe, "door-open", tmp_path, on_demo=lambda: told.append(1))
    found = load_demonstrations(path)
    assert (found.episodes, found.tries, len(told)) == (3, 5, 3)
    assert np.array_equal(found.actions, np.tile([1, 0, 0, -1], (len(found.actions), 1)))
    assert set(np.unique(found.frames)) == {0, 2, 4}
    assert found.last_step[-1] == len(found.actions) - 1
    assert np.isnan(found.landmarks[:, 1]).all()
    assert (found.landmarks[:, 0] == 1).all()
    assert not list(tmp_path.glob("*.partial"))


def test_the_same_recipe_gives_the_same_file_and_collects_once(recipe, tmp_path):
    first = collect_task(Corridor(), recipe, "door-open", tmp_path / "a")
    second = collect_task(Corridor(), recipe, "door-open", tmp_path / "b")
    assert first.name == second.name
    assert np.array_equal(load_demonstrations(first).hands, load_demonstrations(second).hands)
    before = first.stat().st_mtime_ns
    collect_task(Corridor(), recipe, "door-open", tmp_path / "a")
    assert first.stat().st_mtime_ns == before


def test_an_expert_that_fails_too_often_is_reported(recipe, tmp_path):
    hopeless = recipe.model_copy(
        update={"demonstrations": DemoPlan(max_steps=2, landmarks=("door",))}
    )
    with pytest.raises(RuntimeError, match="succeeded in 0 of"):
        collect_task(Corridor(), hopeless, "door-open", tmp_path)
