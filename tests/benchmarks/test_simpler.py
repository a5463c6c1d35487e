"""SimplerEnv without its simulator: tasks, actions, the rule of success, and what is missing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vlascope.errors import CapabilityMissing, FileMissing, NoRenderer, UnknownName
from vlascope.types import Pose
from vlascope_benchmarks.simpler import assets
from vlascope_benchmarks.simpler.conversion import ACTION, STATE, opening, to_controller
from vlascope_benchmarks.simpler.env import Simpler
from vlascope_benchmarks.simpler.expert import PickAndPlace, Sight, yaw_error
from vlascope_benchmarks.simpler.success import half_extent, placement
from vlascope_benchmarks.simpler.tasks import REMOTE_TASKS, TWINS
from vlascope_benchmarks.simpler.vulkan import require_renderer

CARROT = TWINS["widowx_carrot_on_plate"]
EGGPLANT = TWINS["widowx_put_eggplant_in_basket"]


def test_four_tasks_three_on_the_table_and_one_at_the_sink() -> None:
    suites = Simpler.suites()
    assert {name: len(tasks) for name, tasks in suites.items()} == {
        "widowx": 4,
        "table": 3,
        "sink": 1,
    }
    assert Simpler.task("widowx_stack_cube").instruction == (
        "stack the green block on the yellow block"
    )


@pytest.mark.parametrize("task", Simpler.tasks(), ids=lambda task: task.name)
def test_a_task_can_be_said_in_several_ways_and_its_object_is_in_the_words(task) -> None:
    said = (task.instruction, *task.paraphrases)
    assert len(set(said)) == len(said) >= 2
    assert task.instruction.startswith(f"{task.verb} {task.object} ")


def test_asking_what_there_is_imports_no_simulator_and_no_torch() -> None:
    code = (
        "import sys\n"
        "from vlascope_benchmarks.simpler.env import Simpler\n"
        "Simpler.suites(), Simpler().info\n"
        "print({'mani_skill', 'sapien', 'torch', 'gymnasium'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_an_unknown_task_gets_near_matches() -> None:
    with pytest.raises(UnknownName, match="did you mean 'widowx_carrot_on_plate'"):
        Simpler().reset("widowx_carot_on_plate", seed=0)


@pytest.mark.parametrize("name", REMOTE_TASKS)
def test_a_google_robot_task_says_where_it_can_be_played(name) -> None:
    with pytest.raises(CapabilityMissing, match="ManiSkill2_real2sim"):
        Simpler().reset(name, seed=0)


@pytest.mark.parametrize("options", [{"device": "tpu"}, {"max_steps": 0}, {"keep": 0}])
def test_an_option_out_of_range_is_refused(options) -> None:
    with pytest.raises(ValueError, match="got"):
        Simpler(**options)


def test_nothing_is_stepped_before_an_episode_begins() -> None:
    with pytest.raises(RuntimeError, match="call reset"):
        Simpler().step(np.zeros(7, np.float32))


def test_positions_and_gripper_reach_the_controller_as_they_are() -> None:
    given = np.array([0.01, -0.02, 0.03, 0, 0, 0, -1], np.float32)
    np.testing.assert_array_equal(to_controller(given), given)


@pytest.mark.parametrize("vector", [(0.3, -0.2, 0.5), (1.2, 0.9, -1.1), (0, 0, -1.5)])
def test_the_controller_turns_as_the_rotation_vector_says(vector) -> None:
    angles = to_controller(np.array([0, 0, 0, *vector, 1], np.float32))[3:6]
    x, y, z = (Rotation.from_euler(axis, angle) for axis, angle in zip("xyz", angles, strict=True))
    turned = (x * y * z).as_matrix()  # how the controller composes its three angles
    np.testing.assert_allclose(turned, Rotation.from_rotvec(vector).as_matrix(), atol=1e-6)


def test_a_large_rotation_vector_is_not_the_same_three_numbers() -> None:
    angles = to_controller(np.array([0, 0, 0, 1.2, 0.9, -1.1, 1], np.float32))[3:6]
    assert np.abs(angles - (1.2, 0.9, -1.1)).max() > 0.1


def test_an_action_beyond_the_range_is_clipped_to_it() -> None:
    far = np.array([9, -9, 0, 0, 0, 0, 7], np.float32)
    np.testing.assert_array_equal(to_controller(far), [1, -1, 0, 0, 0, 0, 1])


@pytest.mark.parametrize("action", [np.zeros(6), np.zeros((1, 7)), np.full(7, np.nan)])
def test_an_action_of_another_shape_or_not_finite_is_refused(action) -> None:
    with pytest.raises(ValueError, match="seven finite numbers"):
        to_controller(action)


def test_the_action_opens_on_positive_numbers_in_the_base_frame() -> None:
    assert (ACTION.gripper, ACTION.frame, ACTION.rotation) == (
        "positive_opens",
        "base",
        "axis_angle",
    )
    assert sum(stream.dim for stream in STATE.values()) == 3 + 4 + 6 + 1


@pytest.mark.parametrize(("finger", "share"), [(0.037, 1), (0.026, 0.5), (0.015, 0), (0.01, 0)])
def test_the_opening_is_a_share_of_the_fingers_range(finger, share) -> None:
    assert opening(np.array([finger, finger], np.float32)) == pytest.approx([share], abs=1e-6)


PLATE_HALF = np.array([0.055, 0.055, 0.003])
CARROT_HALF = np.array([0.0575, 0.016, 0.019])


@pytest.mark.parametrize(
    ("offset", "over", "at_height"),
    [
        ((0, 0, 0.02), True, True),
        ((0.08, 0, 0.02), True, True),  # half the diagonal is 7.8 cm, and 3 mm are given
        ((0.082, 0, 0.02), False, True),
        ((0, 0, 0.041), True, True),
        ((0, 0, 0.043), True, False),  # hovering 2.1 cm above
        ((0, 0, -0.001), True, False),
    ],
)
def test_a_thing_is_on_the_plate_where_the_rule_says(offset, over, at_height) -> None:
    target = np.array([-0.16, 0.0, 0.87])
    found = placement(target + offset, target, CARROT_HALF, PLATE_HALF, CARROT.slack)
    assert found == (over, at_height)
    assert found.on == (over and at_height)


def test_the_eggplant_may_hang_higher_than_the_carrot() -> None:
    offset = np.array([0, 0, 0.07])
    judged = [
        placement(offset, np.zeros(3), CARROT_HALF, PLATE_HALF, twin.slack).on
        for twin in (CARROT, EGGPLANT)
    ]
    assert judged == [False, True]


def test_a_turned_box_has_its_vector_of_edges_turned() -> None:
    quarter = Pose(np.zeros(3), np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)]))
    half = half_extent(np.array([0.1, 0.04, 0.02]), quarter)
    np.testing.assert_allclose(half, [-0.02, 0.05, 0.01], atol=1e-12)


def folder_with(twin, root: Path, *, without: str = "") -> Path:
    """A folder that has an empty file for everything the twin needs, but for one."""
    folder = root / "data"
    for choices in assets.missing(twin, folder):
        path = folder / choices.split(" or ")[0]
        if without not in choices or not without:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    return folder


@pytest.mark.parametrize("twin", TWINS.values(), ids=lambda twin: twin.task.name)
def test_nothing_is_missing_where_everything_is(twin, tmp_path) -> None:
    folder = folder_with(twin, tmp_path)
    assert assets.missing(twin, folder) == ()


@pytest.mark.parametrize("file", ["wx250s.urdf", "bridge_sink.png", "sink/collision.obj"])
def test_a_missing_file_is_named(file, tmp_path) -> None:
    folder = folder_with(EGGPLANT, tmp_path, without=file)
    (absent,) = assets.missing(EGGPLANT, folder)
    assert absent.endswith(file)


def test_a_mesh_that_the_robot_names_is_needed_too(tmp_path) -> None:
    folder = folder_with(CARROT, tmp_path)
    urdf = folder / "robots/widowx/wx250s.urdf"
    urdf.write_text('<mesh filename="meshes/hand.obj" scale="1 1 1"/>')
    assert assets.missing(CARROT, folder) == ("robots/widowx/meshes/hand.obj",)


def test_missing_assets_say_which_where_and_how_to_get_them(tmp_path, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "mani_skill", raising=False)
    monkeypatch.setenv(assets.VARIABLE, str(tmp_path))
    with pytest.raises(FileMissing) as caught:
        assets.require_assets(CARROT)
    said = str(caught.value)
    for part in (
        "8 file(s)",
        str(tmp_path / "data"),
        "wx250s.urdf",
        "... and 2 more",
        "mani_skill.utils.download_asset bridge_v2_real2sim",
        "MS_ASSET_DIR is set to",
    ):
        assert part in said


def test_without_the_variable_the_home_folder_is_looked_in(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "mani_skill", raising=False)
    monkeypatch.delenv(assets.VARIABLE, raising=False)
    assert assets.asset_folder() == Path.home() / ".maniskill" / "data"


def test_no_vulkan_device_says_what_to_install() -> None:
    def refuse(device: str) -> None:
        raise RuntimeError(f"vk::createInstanceUnique: ErrorIncompatibleDriver ({device})")

    with pytest.raises(NoRenderer) as caught:
        require_renderer("cpu", refuse)
    for part in ("mesa-vulkan-drivers", "bookworm-backports", "ErrorIncompatibleDriver (cpu)"):
        assert part in str(caught.value)


def test_a_device_that_starts_is_enough() -> None:
    asked: list[str] = []
    require_renderer("cpu", asked.append)
    require_renderer("gpu", asked.append)
    assert asked == ["cpu", "cuda"]


SIGHT = Sight(
    hand=Pose(np.array([0.0, 0.0, 1.0])),
    thing=Pose(np.array([0.1, 0.0, 0.87])),
    place=Pose(np.array([0.0, 0.1, 0.87])),
    base=np.diag([-1.0, -1.0, 1.0]),
    height=0.87,
)


def test_the_expert_goes_to_the_thing_in_the_bases_frame_with_open_fingers() -> None:
    action = PickAndPlace()(SIGHT)
    assert action[0] < 0  # the base looks the other way
    assert action[2] < 0
    assert action[6] == 1


@pytest.mark.parametrize(("turn", "error"), [(0.0, 0.0), (0.4, 0.4), (3.0, 3.0 - np.pi)])
def test_the_expert_turns_its_fingers_across_the_thing_the_short_way(turn, error) -> None:
    half = turn / 2
    thing = replace(SIGHT.thing, quaternion=np.array([np.cos(half), 0, 0, np.sin(half)]))
    assert yaw_error(replace(SIGHT, thing=thing)) == pytest.approx(error)


def test_the_expert_closes_carries_and_opens_in_a_world_that_obeys() -> None:
    expert, sight, grips = PickAndPlace(), SIGHT, []
    for _ in range(60):
        action = expert(sight)
        grips.append(float(action[6]))
        at = sight.hand.position + sight.base @ action[:3]
        held = len(grips) > 20 and grips[-1] < 0
        thing = Pose(at) if held else sight.thing
        sight = replace(sight, hand=Pose(at), thing=thing)
    switches = [i for i in range(1, 60) if grips[i] != grips[i - 1]]
    assert len(switches) == 2
    assert np.linalg.norm(sight.hand.position[:2] - sight.place.position[:2]) < 0.02
