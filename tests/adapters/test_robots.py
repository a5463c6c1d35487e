"""Robots say what a checkpoint's numbers mean, and never guess."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vlascope.errors import IncompatibleError, UnknownName
from vlascope.specs import CameraSpec, StateSpec
from vlascope.types import Observation
from vlascope_adapters.robots import ROBOTS, Robot, robot_for

LIBERO = ROBOTS["libero"].seen_at(8)


def observation(robot: Robot) -> Observation:
    """What the robot sees: every number of its state its place in the whole state."""
    numbers, state = iter(range(robot.state_dim)), {}
    for name, spec in robot.state.items():
        state[name] = np.array([next(numbers) for _ in range(spec.dim)], dtype=np.float32)
    images = {n: np.zeros((c.height, c.width, 3), np.uint8) for n, c in robot.cameras.items()}
    return Observation("", images, state)


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=list(ROBOTS))
def test_a_robot_is_consistent(robot):
    assert robot.state_dim == sum(spec.dim for spec in robot.state.values())
    assert all(low < high for low, high in zip(robot.action.low, robot.action.high, strict=True))
    assert set(robot.views) <= set(robot.cameras)
    called = [name for camera in robot.cameras for name in (camera, *robot.views.get(camera, ()))]
    assert len(called) == len(set(called)), "one view leads to two cameras"


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=list(ROBOTS))
def test_the_state_is_its_streams_end_to_end(robot):
    vector = robot.state_vector(observation(robot))
    assert vector.dtype == np.float32
    assert vector.tolist() == list(range(robot.state_dim))


def test_the_order_of_an_observation_does_not_matter():
    seen = observation(LIBERO)
    turned = replace(seen, state=dict(reversed(seen.state.items())))
    assert np.array_equal(LIBERO.state_vector(turned), LIBERO.state_vector(seen))


def test_a_robot_without_state_has_an_empty_one():
    assert replace(LIBERO, state={}).state_vector(Observation("")).shape == (0,)


@pytest.mark.parametrize("wrong", [None, np.zeros(2, np.float32), np.zeros((3, 1), np.float32)])
def test_a_stream_that_is_missing_or_of_another_length_is_refused(wrong):
    seen = observation(LIBERO)
    state = {k: v for k, v in seen.state.items() if k != "eef_position"}
    if wrong is not None:
        state["eef_position"] = wrong
    with pytest.raises(ValueError, match=r"needs state 'eef_position', \(3,\) = \('x', 'y', 'z'\)"):
        LIBERO.state_vector(replace(seen, state=state))


def test_a_picture_is_the_cameras_own():
    seen = observation(LIBERO)
    assert LIBERO.picture(seen, "wrist") is seen.images["wrist"]


WRONG_PICTURES = {
    "missing": None,
    "of another size": np.zeros((8, 9, 3), np.uint8),
    "without colour": np.zeros((8, 8), np.uint8),
    "of floats": np.zeros((8, 8, 3), np.float32),
}


@pytest.mark.parametrize("wrong", WRONG_PICTURES.values(), ids=list(WRONG_PICTURES))
def test_a_picture_that_is_not_what_the_policy_saw_is_refused(wrong):
    images = dict(observation(LIBERO).images)
    del images["wrist"]
    if wrong is not None:
        images["wrist"] = wrong
    with pytest.raises(ValueError, match=r"looks at 'wrist', \('uint8', \(8, 8, 3\)\)"):
        LIBERO.picture(Observation("", images), "wrist")


@pytest.mark.parametrize(
    ("view", "camera"),
    [
        ("observation.images.image", "agentview"),
        ("observation.images.image2", "wrist"),
        ("left_wrist_0_rgb", "wrist"),
        ("wrist", "wrist"),
    ],
)
def test_a_view_of_a_checkpoint_leads_to_a_camera(view, camera):
    assert LIBERO.camera_of(view) == camera


def test_a_view_that_leads_nowhere_lists_what_is_known():
    with pytest.raises(IncompatibleError, match=r"'observation.images.rear'.*'image2'.*robot="):
        LIBERO.camera_of("observation.images.rear")


def test_looking_in_another_size_changes_the_cameras_alone():
    seen = ROBOTS["aloha"].seen_at(64, render="fast")
    assert seen.cameras == {"top": CameraSpec(64, 64, "fast")}
    assert replace(seen, cameras=ROBOTS["aloha"].cameras) == ROBOTS["aloha"]


def test_a_robot_is_taken_as_it_is_given():
    own = replace(LIBERO, name="mine", state={"arm": StateSpec(("a",), ("rad",))})
    assert robot_for(own, ["nothing"]) is own
    assert robot_for("aloha", ["smolvla_libero"]) is ROBOTS["aloha"]


def test_an_unknown_robot_lists_near_matches():
    with pytest.raises(UnknownName, match="did you mean 'libero'"):
        robot_for("liberoo", [])


@pytest.mark.parametrize("hints", [["pi0_libero"], ["", "x", "someone/LIBERO_10_image"]])
def test_the_name_of_a_checkpoint_or_its_dataset_tells_the_robot(hints):
    assert robot_for(None, hints) is ROBOTS["libero"]


def test_of_two_names_in_one_the_longer_is_meant():
    assert robot_for(None, ["policy_libero_absolute"]) is ROBOTS["libero_absolute"]
    with pytest.raises(IncompatibleError, match="could be libero or libero_absolute"):
        robot_for(None, ["libero_policy", "libero_absolute"])


def test_names_that_tell_nothing_are_no_guess():
    with pytest.raises(
        IncompatibleError, match=r"robot=NAME, one of aloha, libero, libero_absolute"
    ):
        robot_for(None, ["pi0_base", ""])


def test_names_that_tell_two_robots_are_no_guess():
    with pytest.raises(IncompatibleError, match="could be libero or aloha"):
        robot_for(None, ["libero_policy", "aloha_data"])
