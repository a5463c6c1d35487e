"""What MetaWorld says about itself before any simulator starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vlascope.errors import UnknownName
from vlascope_benchmarks.metaworld.env import MetaWorld
from vlascope_benchmarks.metaworld.tasks import DIFFICULTIES


def test_there_are_fifty_tasks_and_eight_instructions_for_one_scene() -> None:
    suites = MetaWorld.suites()
    assert len(suites["all"]) == 50
    assert len(suites["multi_goal"]) == 8
    assert {task.scene for task in suites["multi_goal"]} == {"multi"}
    assert len({task.name for task in MetaWorld.tasks()}) == 58


def test_difficulties_split_the_fifty() -> None:
    suites = MetaWorld.suites()
    sizes = [len(suites[level]) for level in DIFFICULTIES]
    assert sizes == [28, 11, 6, 5]
    assert {task.name for level in DIFFICULTIES for task in suites[level]} == {
        task.name for task in suites["all"]
    }


def test_scenes_split_the_fifty() -> None:
    suites = MetaWorld.suites()
    shared, unique = suites["shared_scene"], suites["unique_scene"]
    assert len(shared) + len(unique) == 50
    assert not {task.scene for task in shared} & {task.scene for task in unique}
    coffee = {task.name for task in shared if task.scene == "coffee"}
    assert coffee == {"coffee-button", "coffee-pull", "coffee-push"}


@pytest.mark.parametrize("task", MetaWorld.tasks(), ids=lambda task: task.name)
def test_every_task_can_be_said_in_several_ways(task) -> None:
    said = (task.instruction, *task.paraphrases)
    assert len(set(said)) == len(said) >= 2
    assert all(text == text.strip().lower() and text for text in said)


def test_one_instruction_means_one_task_within_a_scene() -> None:
    for scene in {task.scene for task in MetaWorld.tasks()}:
        said = [
            text
            for task in MetaWorld.tasks()
            if task.scene == scene
            for text in (task.instruction, *task.paraphrases)
        ]
        assert len(said) == len(set(said)), scene


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("faucet-opn", "faucet-open"),
        ("door-open-v3", "door-open"),
        ("open-drawer", "multi/open-drawer"),
    ],
)
def test_an_unknown_task_lists_near_matches(given, meant) -> None:
    with pytest.raises(UnknownName, match=meant):
        MetaWorld.task(given)


def test_an_unknown_suite_lists_near_matches() -> None:
    with pytest.raises(UnknownName, match="multi_goal"):
        MetaWorld.tasks("multigoal")


def test_info_states_the_options() -> None:
    info = MetaWorld(camera="topview", size=64, render="full", max_steps=7).info
    (camera,) = info.cameras.items()
    assert camera[0] == "topview"
    assert (camera[1].height, camera[1].width, camera[1].render) == (64, 64, "full")
    assert info.max_steps == 7
    assert (info.action.dim, info.state["proprio"].dim) == (4, 4)


def test_fast_and_full_rendering_differ_in_info() -> None:
    assert MetaWorld(render="fast").info != MetaWorld(render="full").info


def test_an_unknown_camera_lists_near_matches() -> None:
    with pytest.raises(UnknownName, match="corner2"):
        MetaWorld(camera="corner-2")


@pytest.mark.parametrize("option", [{"size": 0}, {"max_steps": 0}, {"keep": 0}, {"render": "slow"}])
def test_an_option_out_of_range_is_refused(option) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        MetaWorld(**option)


@pytest.mark.parametrize("use", ["step([0, 0, 0, 0])", "sense()", "expert()", "scene_state()"])
def test_nothing_works_before_an_episode_begins(use) -> None:
    with pytest.raises(RuntimeError, match="reset"):
        eval(f"env.{use}", {"env": MetaWorld()})


def test_listing_tasks_imports_no_simulator() -> None:
    code = (
        "import sys, vlascope_benchmarks.metaworld\n"
        "from vlascope_benchmarks.metaworld.env import MetaWorld\n"
        "MetaWorld.suites(); MetaWorld().info\n"
        "heavy = {'mujoco', 'metaworld', 'gymnasium', 'torch', 'OpenGL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
