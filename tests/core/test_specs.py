"""What does not mean the same is refused before the first rollout, with a stable code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlascope.errors import IncompatibleError
from vlascope.specs import ActionSpec, CameraSpec, StateSpec, check_compatible, mismatches
from vlascope_adapters.toy.adapter import ToyAdapter
from vlascope_benchmarks.toy.env import ToyBenchmark


@pytest.fixture
def policy():
    return ToyAdapter.tiny().info


@pytest.fixture
def world():
    return ToyBenchmark().info


def test_the_toy_policy_fits_the_toy_benchmark(policy, world):
    check_compatible(policy, world)


WRONG_ACTIONS = {
    "action-control": {"control": "ee_delta"},
    "action-frame": {"frame": "tool"},
    "action-rotation": {"rotation": "axis_angle"},
    "action-gripper": {"gripper": "positive_opens"},
    "action-dim": {"names": ("x", "y", "z"), "low": (-1.0,) * 3, "high": (1.0,) * 3},
}


@pytest.mark.parametrize(("code", "change"), WRONG_ACTIONS.items(), ids=lambda v: str(v)[:20])
def test_an_action_that_means_something_else(policy, world, code, change):
    other = replace(world, action=replace(world.action, **change))
    assert [m.code for m in mismatches(policy, other)] == [code]


WRONG_CAMERAS = {
    "camera-missing": {"side": CameraSpec(16, 16, "fast")},
    "camera-size": {"top": CameraSpec(32, 16, "fast")},
    "camera-render": {"top": CameraSpec(16, 16, "full")},
    "camera-flip": {"top": CameraSpec(16, 16, "fast", upright=False)},
}


@pytest.mark.parametrize(("code", "cameras"), WRONG_CAMERAS.items(), ids=lambda v: str(v)[:20])
def test_a_camera_that_shows_something_else(policy, world, code, cameras):
    assert [m.code for m in mismatches(policy, replace(world, cameras=cameras))] == [code]


WRONG_STATES = {
    "state-missing": {},
    "state-meaning": {"position": StateSpec(("x", "y"), ("rad", "rad"))},
}


@pytest.mark.parametrize(("code", "state"), WRONG_STATES.items(), ids=lambda v: str(v)[:20])
def test_a_state_that_means_something_else(policy, world, code, state):
    assert [m.code for m in mismatches(policy, replace(world, state=state))] == [code]


def test_every_mismatch_is_told_at_once(policy, world):
    other = replace(world, cameras={}, state={})
    with pytest.raises(IncompatibleError, match=r"(?s)camera-missing.*state-missing"):
        check_compatible(policy, other)


def test_specs_need_one_entry_per_dimension():
    with pytest.raises(ValueError, match="one entry per dimension"):
        ActionSpec(("x",), "ee_delta", "base", "none", "none", (-1.0, -1.0), (1.0,))
    with pytest.raises(ValueError, match="as many units"):
        StateSpec(("x", "y"), ("m",))
