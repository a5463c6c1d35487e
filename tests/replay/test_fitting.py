"""Features that do not fit a policy are refused by name; those that do are found."""

from dataclasses import replace

import numpy as np
import pytest

from vlascope import load
from vlascope.errors import IncompatibleError, InvalidName, UnknownName
from vlascope.replay import Features, Frame, Picture, Vector, fit
from vlascope.specs import CameraSpec, StateSpec

PICTURES = {
    "observation.images.image": Picture(16, 16),
    "observation.images.wrist": Picture(16, 24),
}
VECTORS = {"observation.state": Vector(("a", "b", "c"))}
FEATURES = Features(PICTURES, VECTORS)
CAMERAS = {"observation.images.image": "top"}
STATES = {"observation.state[1:3]": "position"}


@pytest.fixture(scope="module")
def info():
    return load("toy").info


def test_a_mapping_picks_pictures_and_numbers(info):
    fitted = fit(FEATURES, info, cameras=CAMERAS, states=STATES)
    assert set(fitted.features) == {"observation.images.image", "observation.state"}
    picture = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    values = {"observation.images.image": picture, "observation.state": np.arange(3.0)}
    seen = fitted.observation(Frame(0, "go", values))
    np.testing.assert_array_equal(seen.images["top"], picture)
    np.testing.assert_array_equal(seen.state["position"], np.float32([1, 2]))
    assert seen.state["position"].dtype == np.float32
    assert seen.instruction == "go"


def test_features_named_like_the_policys_own_need_no_mapping(info):
    features = Features({"some.prefix.top": Picture(16, 16)}, {"position": Vector(("x", "y"))})
    assert str(fit(features, info)) == "some.prefix.top=top, position[0:2]=position"


def test_numbers_named_after_a_stream_need_no_mapping(info):
    state = Vector(("other.x", "position.x", "position.y"))
    features = Features({"top": Picture(16, 16)}, {"observation.state": state})
    assert str(fit(features, info).states["position"]) == "observation.state[1:3]"


@pytest.mark.parametrize(
    ("cameras", "states", "error", "says"),
    [
        ({}, STATES, IncompatibleError, r"camera 'top' .*observation\.images\.image \(16x16\)"),
        (CAMERAS, {}, IncompatibleError, r"state 'position' \(2 numbers: x, y\).*\(3: a, b, c\)"),
        (
            {"observation.images.wrist": "top"},
            STATES,
            IncompatibleError,
            r"feature 'observation\.images\.wrist' is 16x24; camera 'top' .* 16x16.*--resize",
        ),
        (
            CAMERAS,
            {"observation.state": "position"},
            IncompatibleError,
            r"feature 'observation\.state' gives 3 numbers \(a, b, c\); state 'position'.*2: x, y",
        ),
        (
            CAMERAS,
            {"observation.state[2:4]": "position"},
            IncompatibleError,
            r"observation\.state\[2:4\] reaches beyond feature 'observation\.state', which has 3",
        ),
        ({"observation.images.imag": "top"}, STATES, UnknownName, r"observation\.images\.image"),
        (CAMERAS, {"observation.stat": "position"}, UnknownName, r"observation\.state"),
        ({"observation.images.image": "tip"}, STATES, UnknownName, r"'top'"),
        (dict.fromkeys(PICTURES, "top"), STATES, InvalidName, r"camera 'top' is given .* give one"),
    ],
)
def test_what_does_not_fit_is_named(info, cameras, states, error, says):
    with pytest.raises(error, match=says):
        fit(FEATURES, info, cameras=cameras, states=states)


def test_pictures_of_another_size_are_scaled_only_on_request(info):
    cameras = {"observation.images.wrist": "top"}
    fitted = fit(FEATURES, info, cameras=cameras, states=STATES, resize=True)
    values = {
        "observation.images.wrist": np.full((16, 24, 3), 7, np.uint8),
        "observation.state": np.zeros(3, np.float32),
    }
    seen = fitted.observation(Frame(0, "", values)).images["top"]
    np.testing.assert_array_equal(seen, np.full((16, 16, 3), 7, np.uint8))


def test_meaning_is_compared_where_it_is_known(info):
    upside_down = Picture(16, 16, CameraSpec(16, 16, render="fast", upright=False))
    feet = Vector(("x", "y"), StateSpec(("x", "y"), ("ft", "ft")))
    metres = replace(feet, meaning=info.state["position"])
    right = Picture(16, 16, info.cameras["top"])
    fit(Features({"top": right}, {"position": metres}), info)
    with pytest.raises(IncompatibleError, match="upright False"):
        fit(Features({"top": upside_down}, {"position": metres}), info)
    with pytest.raises(IncompatibleError, match="'ft', 'ft'"):
        fit(Features({"top": right}, {"position": feet}), info)
