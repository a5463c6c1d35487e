"""MetaWorld's simulator: seeds decide, experts succeed, predicates and pictures tell the truth."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("metaworld")
from vlascope_benchmarks.metaworld.env import MetaWorld

pytestmark = pytest.mark.sim

STOCK = MetaWorld.tasks("all")
MULTI = MetaWorld.tasks("multi_goal")


@pytest.fixture(scope="module")
def env() -> Iterator[MetaWorld]:
    made = MetaWorld(size=48)
    yield made
    made.close()


def play_expert(env: MetaWorld, steps: int) -> bool:
    return any(env.step(env.expert()).success for _ in range(steps))


def fingerprint(env: MetaWorld) -> str:
    """Everything that decides what happens next, and the picture."""
    stage = env._now()
    data, model = stage.simulator.data, stage.simulator.model
    parts = (data.qpos, data.qvel, data.mocap_pos, model.body_pos, model.site_pos)
    picture = env.observe().images["corner2"]
    return hashlib.sha256(
        b"".join(np.ascontiguousarray(p).tobytes() for p in (*parts, picture))
    ).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("task", STOCK, ids=lambda task: task.name)
def test_a_seed_decides_the_start_whatever_was_played(env, task) -> None:
    env.start(task, seed=3)
    first = fingerprint(env)
    play_expert(env, 20)
    env.start(task, seed=4)
    assert fingerprint(env) != first
    env.step(np.array([1, 1, -1, 1], np.float32))
    env.start(task, seed=3)
    assert fingerprint(env) == first


@pytest.mark.parametrize("name", ["coffee-pull", "multi/reach-red"])
def test_a_fresh_process_starts_from_the_same_state(env, name) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_metaworld as t\n"
        "env = t.MetaWorld(size=48); env.start(env.task(sys.argv[2]), seed=11)\n"
        "t.play_expert(env, 5)\n"
        "print(t.fingerprint(env)); env.close()"
    )
    here = str(Path(__file__).parent)
    run = [sys.executable, "-c", code, here, name]
    fresh = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()[-1]
    env.reset(name, seed=2)
    env.reset(name, seed=11)
    play_expert(env, 5)
    assert fingerprint(env) == fresh


def test_one_seed_gives_all_eight_instructions_the_same_scene(env) -> None:
    seen = set()
    for task in MULTI:
        env.start(task, seed=5)
        seen.add(fingerprint(env))
    assert len(seen) == 1


@pytest.mark.parametrize("task", MULTI, ids=lambda task: task.name)
def test_the_expert_does_what_each_instruction_says(env, task) -> None:
    env.start(task, seed=1)
    for _ in range(env.info.max_steps):
        result = env.step(env.expert())
        assert set(result.predicates) == {other.name for other in MULTI}
        assert result.success == result.predicates[task.name] == result.terminated
        if result.success:
            break
    assert result.success


def test_no_instruction_holds_before_anything_is_done(env) -> None:
    for seed in range(10):
        env.start(MULTI[0], seed=seed)
        assert not any(env.step(np.zeros(4, np.float32)).predicates.values())


@pytest.mark.parametrize(
    "name",
    ["reach", "push", "faucet-open", "faucet-close", "button-press-topdown", "coffee-button"],
)
def test_the_expert_solves_stock_tasks(env, name) -> None:
    env.reset(name, seed=1)
    assert play_expert(env, env.info.max_steps)


def test_conditions_tell_what_happened_to_the_drawer(env) -> None:
    env.reset("drawer-close", seed=0)
    before = env.step(np.zeros(4, np.float32)).predicates
    assert (before["drawer_open"], before["drawer_closed"]) == (True, False)
    play_expert(env, env.info.max_steps)
    after = env.step(env.expert()).predicates
    assert (after["drawer_open"], after["drawer_closed"]) == (False, True)


def test_an_observation_is_what_info_says(env) -> None:
    seen = env.reset("door-open", seed=0)
    assert seen.instruction == MetaWorld.task("door-open").instruction
    assert seen.images["corner2"].shape == (48, 48, 3)
    assert seen.images["corner2"].dtype == np.uint8
    assert seen.state["proprio"].shape == (4,)
    assert seen.state["proprio"].dtype == np.float32
    hand = env.scene_state()["end_effector"].position
    np.testing.assert_allclose(seen.state["proprio"][:3], hand, atol=1e-6)


def test_an_instruction_of_ones_own_is_passed_on(env) -> None:
    env.start(replace(MetaWorld.task("reach"), instruction="do nothing"), seed=0)
    assert env.observe().instruction == "do nothing"


def test_the_picture_is_upright(env) -> None:
    """The table is brown and below; the wall of the room is grey and above."""
    picture = env.reset("reach", seed=0).images["corner2"].astype(float)
    redness = picture[..., 0] - picture[..., 2]
    assert redness[36:, 12:36].mean() > redness[:6, 24:].mean() + 15


def test_perturb_reaches_the_observation(env) -> None:
    env.reset("reach", seed=0)
    try:
        env.perturb = lambda camera, image: np.zeros_like(image)
        assert not env.observe().images["corner2"].any()
        assert env.sense().images["corner2"].any()
    finally:
        env.perturb = None


def test_actions_move_the_hand_the_way_they_say(env) -> None:
    for axis in range(3):
        env.reset("reach", seed=0)
        before = env.scene_state()["end_effector"].position
        push = np.zeros(4, np.float32)
        push[axis] = 1.0
        for _ in range(10):
            env.step(push)
        moved = env.scene_state()["end_effector"].position - before
        assert int(np.argmax(np.abs(moved))) == axis
        assert moved[axis] > 0.02


def test_a_positive_gripper_number_closes(env) -> None:
    env.reset("reach", seed=0)
    for _ in range(20):
        env.step(np.array([0, 0, 0, 1], np.float32))
    closed = env.observe().state["proprio"][3]
    for _ in range(20):
        env.step(np.array([0, 0, 0, -1], np.float32))
    assert env.observe().state["proprio"][3] > closed + 0.2


@pytest.mark.parametrize("action", [np.zeros(3), np.zeros((1, 4)), np.full(4, np.nan)])
def test_a_malformed_action_is_refused(env, action) -> None:
    env.reset("reach", seed=0)
    with pytest.raises(ValueError, match="four finite numbers"):
        env.step(action)


def test_a_negative_seed_is_refused(env) -> None:
    with pytest.raises(ValueError, match="seed"):
        env.reset("reach", seed=-1)


def test_an_episode_is_truncated_when_its_steps_are_used_up() -> None:
    env = MetaWorld(max_steps=3)
    env.start(env.task("reach"), seed=0)
    assert [env.step(np.zeros(4, np.float32)).truncated for _ in range(3)] == [False, False, True]
    env.close()


def test_fast_and_full_pictures_differ() -> None:
    pictures = []
    for mode in ("fast", "full"):
        env = MetaWorld(size=48, render=mode)
        pictures.append(env.reset("drawer-open", seed=0).images["corner2"].astype(int))
        env.close()
    difference = np.abs(pictures[0] - pictures[1])
    assert 0 < difference.mean() < 40


def test_a_frame_for_people_is_larger_and_leaves_the_picture_alone(env) -> None:
    before = env.reset("reach", seed=0).images["corner2"]
    assert env.frame().shape == (256, 256, 3)
    np.testing.assert_array_equal(env.observe().images["corner2"], before)


def test_the_scene_used_longest_ago_is_closed_first() -> None:
    env = MetaWorld(size=32, keep=2)
    first = env.reset("reach", seed=0).images["corner2"]
    env.reset("push", seed=0)
    env.reset("reach", seed=1)
    env.reset("drawer-open", seed=0)
    assert list(env._stages) == ["reach", "drawer-open"]
    env.reset("push", seed=0)
    np.testing.assert_array_equal(env.reset("reach", seed=0).images["corner2"], first)
    env.close()


def test_closing_twice_is_fine_and_playing_on_loads_again() -> None:
    env = MetaWorld(size=32)
    first = env.reset("multi/reach-red", seed=0).images["corner2"]
    env.close()
    env.close()
    np.testing.assert_array_equal(env.reset("multi/reach-red", seed=0).images["corner2"], first)
    env.close()


def test_the_goal_is_where_the_task_ends(env) -> None:
    env.reset("push", seed=0)
    play_expert(env, env.info.max_steps)
    state = env.scene_state()
    assert np.linalg.norm(state["object"].position - state["goal"].position) < 0.1
