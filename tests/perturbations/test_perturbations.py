"""Perturbations: severity, seeds, cameras, and what each of them does to a picture."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from vlascope import plugins
from vlascope.errors import IncompatibleError, UnknownName
from vlascope.perturbations import (
    Blur,
    CameraDrop,
    CameraSwap,
    Colour,
    Crop,
    Flip,
    FreezeFirst,
    Function,
    Greyscale,
    HalfMask,
    Look,
    Noise,
    Occlusion,
    Perturbing,
    Rotate,
    digest_of,
    parse_perturbation,
    parse_perturbations,
)
from vlascope.specs import CameraSpec
from vlascope.types import Observation

EXTRA = {"occlusion": {"cell": [0, 1]}, "function": {"target": "test_perturbations:invert"}}
KINDS = sorted(plugins.perturbations())
WRIST, TOP = CameraSpec(8, 8), CameraSpec(12, 12)


def invert(camera, picture):
    return 255 - picture


@pytest.fixture(autouse=True)
def this_module_is_importable(monkeypatch):
    monkeypatch.setitem(sys.modules, "test_perturbations", sys.modules[__name__])


def pictures(seed: int = 0, top: int = 12):
    rng = np.random.default_rng(seed)
    sizes = {"top": top, "wrist": 8}
    return {c: rng.integers(0, 256, (s, s, 3), dtype=np.uint8) for c, s in sizes.items()}


def look(step: int = 3, seed: int = 5, position: int = 0, first=None) -> Look:
    return Look(step, seed, position, first or pictures(99))


def of_kind(kind: str, **fields):
    return parse_perturbation({"kind": kind, **EXTRA.get(kind, {}), **fields})


@pytest.mark.parametrize("kind", KINDS)
def test_severity_nothing_changes_nothing(kind):
    seen = pictures()
    assert digest_of(of_kind(kind, severity=0).apply(seen, look())) == digest_of(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_full_severity_changes_every_picture_and_keeps_its_form(kind):
    seen, before = pictures(), digest_of(pictures())
    after = of_kind(kind).apply(seen, look())
    assert digest_of(seen) == before
    for camera, picture in seen.items():
        assert after[camera].dtype == np.uint8
        assert after[camera].shape == picture.shape
        assert not np.array_equal(after[camera], picture)


@pytest.mark.parametrize("kind", KINDS)
def test_cameras_and_steps_that_are_not_named_are_left_alone(kind):
    if kind == "camera_swap":
        pytest.skip("needs two cameras")
    seen = pictures()
    only = of_kind(kind, cameras="top", steps=[2, 4])
    after = only.apply(seen, look(step=3))
    assert not np.array_equal(after["top"], seen["top"])
    assert after["wrist"] is seen["wrist"]
    for step in (1, 4):
        assert digest_of(only.apply(seen, look(step=step))) == digest_of(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_written_out_and_read_back_it_is_the_same(kind):
    there = of_kind(kind, severity=0.25)
    assert parse_perturbation(there.model_dump(mode="json")) == there
    assert pickle.loads(pickle.dumps(there)) == there


@pytest.mark.parametrize("kind", ["blur", "noise", "brightness", "contrast", "greyscale", "rotate"])
def test_more_severe_is_further_away(kind):
    smooth = {"top": np.tile(np.linspace(0, 255, 32)[:, None, None], (1, 32, 3)).astype(np.uint8)}
    smooth["top"][8:16, 8:16] = (255, 0, 0)
    far = [
        np.abs(of_kind(kind, severity=s).apply(smooth, look())["top"] - smooth["top"].astype(int))
        for s in (0.2, 0.6, 1.0)
    ]
    assert far[0].mean() < far[1].mean() < far[2].mean()


def test_noise_is_decided_by_seed_step_camera_and_position():
    def of(**at):
        return digest_of(Noise().apply(pictures(), look(**at)))

    assert of() == of()
    assert len({of(), of(step=4), of(seed=6), of(position=1)}) == 4
    grey = {c: np.full((8, 8, 3), 127, np.uint8) for c in ("a", "b")}
    noisy = Noise().apply(grey, look())
    assert not np.array_equal(noisy["a"], noisy["b"])


def test_a_random_crop_stays_where_it_is_for_the_episode():
    crop = Crop(place="random")
    at = [digest_of(crop.apply(pictures(), look(step=s, seed=e))) for s, e in ((0, 1), (9, 1))]
    assert at[0] == at[1]
    assert digest_of(crop.apply(pictures(), look(seed=2))) != at[0]


def test_kinds_without_degrees_act_at_a_share_of_looks():
    lost = [not CameraDrop(severity=0.3).apply(pictures(), look(step=s))["top"].any()
            for s in range(400)]  # fmt: skip
    assert 0.22 < np.mean(lost) < 0.38


def test_occlusion_covers_exactly_its_cell_and_the_cells_cover_the_picture():
    seen = {"top": pictures(top=10)["top"]}
    covered = np.zeros((10, 10), int)
    for row in range(3):
        for column in range(3):
            after = Occlusion(grid=3, cell=(row, column)).apply(seen, look())["top"]
            changed = (after != seen["top"]).any(-1)
            assert (after[changed] == 127).all()
            covered += (after == 127).all(-1)
    assert (covered == 1).all()


def test_half_masks_meet_in_the_middle():
    seen = {"top": pictures(top=9)["top"]}
    left, right = (HalfMask(side=s, fill="black").apply(seen, look())["top"]
                   for s in ("left", "right"))  # fmt: skip
    assert np.array_equal(left + right, seen["top"])


def test_colour_leaves_greys_and_greyscale_leaves_no_colour():
    grey = {"top": np.repeat(np.arange(0, 250, 10, dtype=np.uint8)[:, None, None], 3, 2)}
    assert np.array_equal(Colour().apply(grey, look())["top"], grey["top"])
    after = Greyscale().apply(pictures(), look())["top"]
    assert np.array_equal(after[..., 0], after[..., 2])


def test_red_turns_cyan_half_way_round_the_circle():
    red = {"top": np.full((4, 4, 3), (255, 0, 0), np.uint8)}
    turned = Colour().apply(red, look())["top"][0, 0].astype(int)
    assert np.abs(turned - (0, 255, 255)).max() <= 6


def test_a_rotation_to_the_left_takes_the_right_edge_up():
    seen = {"top": np.zeros((33, 33, 3), np.uint8)}
    seen["top"][16, 28:] = 255
    rows, columns = np.nonzero(Rotate().apply(seen, look())["top"][..., 0] > 140)
    assert columns.mean() > 16
    assert rows.mean() < 16


def test_cameras_show_each_others_pictures_at_their_own_size():
    seen = pictures(top=8)
    after = CameraSwap().apply(seen, look())
    assert np.array_equal(after["top"], seen["wrist"])
    assert np.array_equal(after["wrist"], seen["top"])
    assert CameraSwap().apply(pictures(top=12), look())["wrist"].shape == (8, 8, 3)


def observation(step: int, still: bool = False) -> Observation:
    return Observation("go", {"top": pictures(0 if still else step)["top"]})


def test_a_frozen_camera_shows_the_first_picture_for_ever():
    frozen = Perturbing([FreezeFirst()], seed=1)
    seen = [frozen.look(observation(s), s)[0].images["top"] for s in (0, 4, 8)]
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[0], seen[2])
    (receipt,) = frozen.receipts
    assert (receipt.pictures, receipt.changed) == (3, 2)


def test_a_list_is_applied_in_order_and_each_part_leaves_its_own_receipt():
    both = parse_perturbations([{"kind": "brightness"}, {"kind": "flip"}])
    perturbing = Perturbing(both, seed=0)
    after, sent = perturbing.look(observation(0), 0)
    alone = both[0].apply(observation(0).images, look())["top"]
    assert np.array_equal(after.images["top"], alone[:, ::-1])
    dark, flipped = perturbing.receipts
    assert (dark.kind, dark.pictures, dark.changed) == ("brightness", 1, 1)
    plain = observation(0).images["top"].astype(int)
    assert dark.change == pytest.approx(np.abs(alone - plain).mean(), abs=1e-4)
    assert flipped.change == pytest.approx(
        np.abs(alone[:, ::-1].astype(int) - alone).mean(), abs=1e-4
    )
    assert sent is not None
    assert sent.taken == digest_of(observation(0).images)
    assert sent.sent == digest_of(after.images)


def test_what_the_policy_does_not_read_is_not_counted():
    perturbing = Perturbing([Blur(cameras="wrist")], seed=0, read={"top"})
    _, sent = perturbing.look(Observation("go", pictures()), 0)
    assert perturbing.receipts[0].pictures == 0
    assert sent is not None
    assert sent.taken == sent.sent


def test_looks_for_a_film_are_not_counted():
    perturbing = Perturbing([Flip()], seed=0)
    perturbing.look(observation(0), 0, count=False)
    assert perturbing.receipts[0].pictures == 0


def test_a_picture_of_another_shape_is_refused(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "invert", lambda c, p: p[:4])
    broken = Perturbing([Function(target="test_perturbations:invert")], seed=0)
    with pytest.raises(ValueError, match="keeps shape and dtype"):
        broken.look(observation(0), 0)


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        ({"kind": "occlusoin", "cell": [0, 0]}, UnknownName, "'occlusion'"),
        ({"cell": [0, 0]}, UnknownName, "blur"),
        ({"kind": "occlusion", "cell": [4, 0]}, ValidationError, "0 to 3"),
        ({"kind": "blur", "severity": 1.5}, ValidationError, "less than or equal to 1"),
        ({"kind": "blur", "strength": 1}, ValidationError, "strength"),
        ({"kind": "blur", "steps": [3, 3]}, ValidationError, "hold no step"),
        ({"kind": "function", "target": "nowhere"}, ValidationError, "target"),
    ],
)
def test_bad_data_is_refused_by_name(data, error, says):
    with pytest.raises(error, match=says):
        parse_perturbation(data)


def test_cameras_that_do_not_exist_or_cannot_be_swapped_are_refused():
    with pytest.raises(UnknownName, match="wrist"):
        Blur(cameras="wirst").check({"wrist": WRIST})
    with pytest.raises(IncompatibleError, match="two cameras"):
        CameraSwap().check({"wrist": WRIST})
    CameraSwap().check({"wrist": WRIST, "top": TOP})


def test_perturbing_does_not_import_torch():
    code = "import sys, vlascope.perturbations; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
