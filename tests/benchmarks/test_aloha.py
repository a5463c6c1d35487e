"""ALOHA's simulator: seeds decide, experts succeed, predicates and pictures tell the truth."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gym_aloha")
from vlascope.types import StepResult
from vlascope_benchmarks.aloha.env import CAMERAS, JOINTS, Aloha

pytestmark = pytest.mark.sim

TASKS = Aloha.tasks()
REST = np.array([0, -0.96, 1.16, 0, -0.3, 0, 0.1] * 2, np.float32)
"""The joints at which every episode begins, grippers nearly closed."""


@pytest.fixture(scope="module")
def env() -> Iterator[Aloha]:
    made = Aloha(height=48, width=64, render="fast")
    yield made
    made.close()


def play_expert(env: Aloha, steps: int) -> list[StepResult]:
    """Up to `steps` of them, ending with success."""
    played: list[StepResult] = []
    while len(played) < steps and not (played and played[-1].terminated):
        played.append(env.step(env.expert()))
    return played


def fingerprint(env: Aloha) -> str:
    """Everything that decides what happens next, and the picture."""
    data = env._now().simulator.data
    parts = (data.qpos, data.qvel, data.ctrl, data.qacc_warmstart, env.observe().images["top"])
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_seed_decides_the_start_whatever_was_played(env, task) -> None:
    env.start(task, seed=3)
    first = fingerprint(env)
    play_expert(env, 20)
    env.start(task, seed=4)
    assert fingerprint(env) != first
    env.step(REST)
    env.start(task, seed=3)
    assert fingerprint(env) == first


@pytest.mark.slow
def test_a_fresh_process_plays_the_same_episode(env) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_aloha as t\n"
        "env = t.Aloha(height=48, width=64, render='fast')\n"
        "env.start(env.task('transfer-cube'), seed=11); t.play_expert(env, 40)\n"
        "print(t.fingerprint(env)); env.close()"
    )
    run = [sys.executable, "-c", code, str(Path(__file__).parent)]
    fresh = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()[-1]
    env.start(env.task("insertion"), seed=2)
    play_expert(env, 5)
    env.start(env.task("transfer-cube"), seed=11)
    play_expert(env, 40)
    assert fingerprint(env) == fresh


def test_environments_in_one_process_do_not_disturb_each_other(env) -> None:
    env.start(TASKS[0], seed=1)
    play_expert(env, 30)
    alone = fingerprint(env)
    other = Aloha(height=32, width=32, render="full")
    env.start(TASKS[0], seed=1)
    other.start(TASKS[0], seed=2)
    for _ in range(30):
        env.step(env.expert())
        other.step(other.expert())
    other.observe()
    assert fingerprint(env) == alone
    other.close()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_expert_does_the_task_step_by_step(env, task) -> None:
    env.start(task, seed=1)
    assert not env.predicates()[task.name]
    played = play_expert(env, env.info.max_steps)
    assert played[-1].success
    assert played[-1].terminated
    assert played[-1].predicates[task.name]
    assert not any(result.success for result in played[:-1])
    assert played[-1].info["reward"] == 4


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_task_is_done_and_stays_done_from_every_start(env, task) -> None:
    for seed in range(100, 110):
        env.start(task, seed=seed)
        played = [env.step(env.expert()) for _ in range(400)]
        assert any(result.success for result in played), seed
        assert done(env), seed


def done(env: Aloha) -> bool:
    """What a person would call done: the left hand alone has it; the peg is 1.5 cm deep inside."""
    now, at = env.predicates(), env.scene_state()
    if "cube" in at:
        return now["cube_handed_over"]
    apart = at["peg"].position - at["socket"].position
    return now["peg_lifted"] and now["socket_lifted"] and bool(np.linalg.norm(apart) < 0.105)


def test_the_cube_is_taken_lifted_and_handed_over_in_this_order(env) -> None:
    env.start(env.task("transfer-cube"), seed=2)
    first: dict[str, int] = {}
    for step in range(400):
        for name, holds in env.step(env.expert()).predicates.items():
            if holds:
                first.setdefault(name, step)
    stages = [
        "cube_on_table",
        "right_gripper_touches_cube",
        "cube_lifted",
        "left_gripper_touches_cube",
        "cube_handed_over",
    ]
    assert sorted(stages, key=first.__getitem__) == stages
    assert done(env)


def test_peg_and_socket_are_lifted_before_the_one_goes_in(env) -> None:
    env.start(env.task("insertion"), seed=2)
    played = [env.step(env.expert()).predicates for _ in range(400)]

    def first(name: str) -> int:
        return [predicates[name] for predicates in played].index(True)

    assert max(first("peg_lifted"), first("socket_lifted")) < first("insertion")
    assert done(env)


def test_the_hands_and_what_they_handle_are_in_the_scene_state(env) -> None:
    hands = {"end_effector", "end_effector.left", "end_effector.right"}
    for task, things in zip(TASKS, ({"cube"}, {"peg", "socket"}), strict=True):
        env.start(task, seed=0)
        assert set(env.scene_state()) == hands | things
    env.start(TASKS[0], seed=0)
    before = env.scene_state()
    assert before["end_effector.left"].position[0] < 0 < before["end_effector.right"].position[0]
    play_expert(env, 280)
    after = env.scene_state()
    assert np.linalg.norm(after["cube"].position - after["end_effector"].position) < 0.2
    assert after["cube"].position[2] > before["cube"].position[2] + 0.1
    np.testing.assert_array_equal(
        after["end_effector"].position, after["end_effector.right"].position
    )


def test_targets_move_the_joints_that_they_name(env) -> None:
    for index in (0, 6, 7, 13):
        env.start(TASKS[0], seed=0)
        target = REST.copy()
        target[index] += 0.5
        for _ in range(50):
            env.step(target)
        moved = env.proprioception()["joints"] - REST
        assert JOINTS[int(np.abs(moved).argmax())] == JOINTS[index]
        assert moved[index] == pytest.approx(0.5, abs=0.1)


def test_targets_too_wild_for_the_physics_end_the_episode_in_failure(env) -> None:
    env.start(TASKS[0], seed=1)
    rng = np.random.default_rng(0)
    low, high = env.info.action.low, env.info.action.high
    played = [env.step(rng.uniform(low, high).astype(np.float32)) for _ in range(60)]
    diverged = [result.info["diverged"] for result in played]
    assert any(diverged)
    over = diverged.index(True)
    assert all(diverged[over:])
    assert [result.terminated for result in played] == diverged
    assert not played[-1].success
    assert all(np.isfinite(pose.position).all() for pose in env.scene_state().values())
    assert np.isfinite(env.proprioception()["joints"]).all()
    env.start(TASKS[0], seed=1)
    assert not env.step(REST).terminated


def test_an_observation_is_what_info_says(env) -> None:
    seen = env.reset("insertion", seed=0)
    assert seen.instruction == Aloha.task("insertion").instruction
    assert seen.images["top"].shape == (48, 64, 3)
    assert seen.images["top"].dtype == np.uint8
    assert seen.state["joints"].dtype == np.float32
    np.testing.assert_allclose(seen.state["joints"], REST, atol=1e-3)


def test_an_instruction_of_ones_own_is_passed_on(env) -> None:
    env.start(replace(TASKS[0], instruction="do nothing"), seed=0)
    assert env.observe().instruction == "do nothing"


@pytest.mark.parametrize("action", [np.zeros(13), np.zeros((1, 14)), np.full(14, np.nan)])
def test_a_malformed_action_is_refused(env, action) -> None:
    env.start(TASKS[0], seed=0)
    with pytest.raises(ValueError, match="fourteen finite numbers"):
        env.step(action)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_refuses_is_refused_here(env, seed) -> None:
    with pytest.raises(ValueError, match="seed"):
        env.reset("insertion", seed=seed)


def test_the_cameras_are_those_of_the_scene(env) -> None:
    for task in TASKS:
        env.start(task, seed=0)
        model = env._now().simulator.model
        assert {model.camera(i).name for i in range(model.ncam)} == set(CAMERAS)


def test_the_picture_is_upright_and_not_mirrored(env) -> None:
    """From above, the red peg lies right of the blue socket."""
    picture = env.reset("insertion", seed=0).images["top"].astype(int)
    red = np.argwhere(picture[..., 0] - picture[..., 1:].max(axis=2) > 60)
    blue = np.argwhere(picture[..., 2] - picture[..., :2].max(axis=2) > 60)
    assert red[:, 1].mean() > blue[:, 1].mean() + 10


def test_fast_and_full_pictures_differ(env) -> None:
    full = Aloha(height=48, width=64, render="full")
    shadowed = full.reset("transfer-cube", seed=0).images["top"].astype(int)
    difference = np.abs(env.reset("transfer-cube", seed=0).images["top"] - shadowed)
    full.close()
    assert 0 < difference.mean() < 40


def test_a_frame_for_people_is_larger_and_leaves_the_picture_alone(env) -> None:
    before = env.reset("transfer-cube", seed=0).images["top"]
    assert env.frame().shape == (256, 341, 3)
    np.testing.assert_array_equal(env.observe().images["top"], before)


def test_an_episode_is_truncated_when_its_steps_are_used_up() -> None:
    env = Aloha(max_steps=3)
    env.start(TASKS[0], seed=0)
    assert [env.step(REST).truncated for _ in range(3)] == [False, False, True]
    env.close()


def test_closing_twice_is_fine_and_playing_on_loads_again() -> None:
    env = Aloha(height=32, width=32, render="fast")
    first = env.reset("insertion", seed=0).images["top"]
    env.close()
    env.close()
    np.testing.assert_array_equal(env.reset("insertion", seed=0).images["top"], first)
    env.close()
