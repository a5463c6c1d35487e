"""ALOHA here is gym-aloha's and lerobot's ALOHA: same states, same pictures, same verdicts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gym_aloha")
import gymnasium

from vlascope_benchmarks.aloha.env import Aloha
from vlascope_benchmarks.mujoco_rendering import import_mujoco

pytestmark = pytest.mark.sim

THEIR_NAMES = {"transfer-cube": "AlohaTransferCube-v0", "insertion": "AlohaInsertion-v0"}


@pytest.fixture(scope="module")
def ours() -> Iterator[Aloha]:
    env = Aloha()
    yield env
    env.close()


def without_pictures(theirs: Any) -> None:
    """Take the three pictures out of every step of theirs; the physics stays."""
    task = theirs.unwrapped._env.task
    task.get_observation = lambda physics: {
        "qpos": task.get_qpos(physics),
        "images": {"top": BLANK},
    }


BLANK = np.zeros((1, 1, 3), np.uint8)


def their_env(name: str) -> Any:
    import_mujoco()
    import gym_aloha  # noqa: F401

    return gymnasium.make(
        f"gym_aloha/{THEIR_NAMES[name]}",
        obs_type="pixels_agent_pos",
        max_episode_steps=400,
        disable_env_checker=True,
    )


def assert_same_state(ours: Aloha, theirs: Any) -> None:
    data, other = ours._now().simulator.data, theirs.unwrapped._env.physics.data
    for field in ("qpos", "qvel", "ctrl", "qacc_warmstart"):
        np.testing.assert_array_equal(getattr(data, field), getattr(other, field), err_msg=field)


@pytest.mark.parametrize("name", THEIR_NAMES)
def test_pictures_and_joints_equal_gym_alohas_bit_for_bit(ours, name) -> None:
    theirs = their_env(name)
    rng = np.random.default_rng(0)
    seen, _ = theirs.reset(seed=5)
    ours.start(ours.task(name), seed=5)
    for _ in range(3):
        own = ours.observe()
        np.testing.assert_array_equal(own.images["top"], seen["pixels"]["top"])
        np.testing.assert_array_equal(own.state["joints"], seen["agent_pos"].astype(np.float32))
        action = ours.expert() + rng.normal(0, 0.05, 14).astype(np.float32)
        seen, *_ = theirs.step(action)
        ours.step(action)
    theirs.close()


@pytest.mark.parametrize("name", THEIR_NAMES)
def test_whole_episodes_equal_gym_alohas_bit_for_bit(ours, name) -> None:
    """The expert's actions with noise, so that the grippers also miss, to the last step."""
    theirs = their_env(name)
    without_pictures(theirs)
    rewards = set()
    for seed, noise in ((0, 0.0), (1, 0.03), (2, 0.2)):
        rng = np.random.default_rng(seed)
        theirs.reset(seed=seed)
        ours.start(ours.task(name), seed=seed)
        for step in range(400):
            assert_same_state(ours, theirs)
            action = ours.expert() + rng.normal(0, noise, 14).astype(np.float32)
            _, reward, terminated, truncated, info = theirs.step(action)
            result = ours.step(action)
            assert result.info["reward"] == reward, step
            assert result.success == result.terminated == terminated == info["is_success"]
            assert result.truncated == truncated == (step == 399)
            rewards.add(reward)
            if terminated:
                break
    assert {0, 1, 2, 4} <= rewards
    theirs.close()


@pytest.mark.slow
def test_observations_equal_lerobots_environment() -> None:
    """What lerobot hands a policy in its ALOHA environment, after its own preprocessing."""
    configs = pytest.importorskip("lerobot.envs.configs")
    preprocess = pytest.importorskip("lerobot.envs.utils").preprocess_observation
    import_mujoco()
    config = configs.AlohaEnv(task="AlohaTransferCube-v0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ((theirs,),) = (tuple(tasks.values()) for tasks in config.create_envs(1).values())
        seen, _ = theirs.reset(seed=[9])
    assert config.episode_length == Aloha().info.max_steps
    ours = Aloha()
    ours.start(ours.task("transfer-cube"), seed=9)
    for _ in range(3):
        given = preprocess(seen)
        own = ours.observe()
        picture = given["observation.images.top"][0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(own.images["top"].astype(np.float32) / 255, picture)
        np.testing.assert_array_equal(own.state["joints"], given["observation.state"][0].numpy())
        action = ours.expert()
        seen, *_ = theirs.step(action[None])
        ours.step(action)
    theirs.close()
    ours.close()
