"""What ALOHA says about itself before any simulator starts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from vlascope.adapter import AdapterInfo
from vlascope.errors import UnknownName
from vlascope.specs import mismatches
from vlascope_adapters.robots import ROBOTS
from vlascope_benchmarks.aloha.env import JOINTS, Aloha

TASKS = Aloha.tasks()


def policy_for_aloha(**changes: object) -> AdapterInfo:
    robot = ROBOTS["aloha"]
    info = AdapterInfo(
        name="act",
        checkpoint="none",
        checkpoint_hash="",
        pathways=(),
        horizon=1,
        executed_steps=1,
        action=robot.action,
        state=robot.state,
        cameras=robot.cameras,
    )
    return replace(info, **changes)


def test_there_are_two_tasks_on_two_scenes() -> None:
    assert [task.name for task in Aloha.tasks("all")] == ["transfer-cube", "insertion"]
    assert len({task.scene for task in TASKS}) == 2


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_task_can_be_said_in_several_ways_and_taken_apart(task) -> None:
    said = (task.instruction, *task.paraphrases)
    assert len(set(said)) == len(said) >= 3
    assert all(text == text.strip().lower() and text for text in said)
    assert task.object in task.instruction
    assert task.verb in task.instruction
    assert task.object.removeprefix("the ") not in task.motor


def test_a_policy_trained_for_aloha_fits_the_defaults() -> None:
    assert mismatches(policy_for_aloha(), Aloha().info) == []


def test_a_policy_trained_with_shadows_does_not_fit_fast_pictures() -> None:
    (found,) = mismatches(policy_for_aloha(), Aloha(render="fast").info)
    assert found.code == "camera-render"


def test_a_policy_for_one_arm_does_not_fit() -> None:
    found = mismatches(policy_for_aloha(action=ROBOTS["libero"].action), Aloha().info)
    assert {"action-dim", "action-control"} <= {mismatch.code for mismatch in found}


def test_info_states_the_options() -> None:
    info = Aloha(camera="angle", height=48, width=64, render="fast", max_steps=7).info
    ((name, camera),) = info.cameras.items()
    assert (name, camera.height, camera.width, camera.render) == ("angle", 48, 64, "fast")
    assert (info.max_steps, info.hz) == (7, 50.0)
    assert info.action.names == info.state["joints"].names == JOINTS


@pytest.mark.parametrize(
    "option", [{"height": 0}, {"width": 0}, {"max_steps": 0}, {"render": "slow"}]
)
def test_an_option_out_of_range_is_refused(option) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        Aloha(**option)


def test_unknown_names_list_near_matches() -> None:
    with pytest.raises(UnknownName, match="transfer-cube"):
        Aloha.task("transfer_cube")
    with pytest.raises(UnknownName, match="front_close"):
        Aloha(camera="front")


@pytest.mark.parametrize("use", ["step([0] * 14)", "sense()", "expert()", "scene_state()"])
def test_nothing_works_before_an_episode_begins(use) -> None:
    with pytest.raises(RuntimeError, match="reset"):
        eval(f"env.{use}", {"env": Aloha()})


def test_listing_tasks_imports_no_simulator() -> None:
    code = (
        "import sys, vlascope_benchmarks.aloha\n"
        "from vlascope_benchmarks.aloha.env import Aloha\n"
        "Aloha.suites(); Aloha().info\n"
        "heavy = {'mujoco', 'dm_control', 'gym_aloha', 'gymnasium', 'torch', 'OpenGL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_the_package_the_extra_is_named(monkeypatch) -> None:
    pytest.importorskip("mujoco")
    monkeypatch.delitem(sys.modules, "vlascope_benchmarks.aloha.simulator", raising=False)
    for module in ("gym_aloha", "gym_aloha.constants"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"vlascope\[aloha\]"):
        Aloha().start(TASKS[0], seed=0)
