"""Subspaces: planted ones are found, random ones hold what chance gives, angles mean something."""

import numpy as np
import pytest
from scipy.stats import binom

from vlascope.directions import Direction, Subspace
from vlascope.errors import MisalignedActivations, UnusableActivations
from vlascope.hooks import HookPoint
from vlascope.subspaces import (
    difference_subspace,
    differences,
    principal_angles,
    random_subspace,
    separability,
    share_held,
    span_of,
)

AT = "vlm.1.resid_post"
WIDTH = 24


def planted(rng, dimension=3, blocks=4):
    """Differences that lie in the first dimensions, but for a little noise."""
    noise = [0.01 * rng.standard_normal((50, WIDTH)) for _ in range(blocks)]
    for block in noise:
        block[:, :dimension] += rng.standard_normal((50, dimension)) * [3, 2, 1][:dimension]
    return noise


def axes(*which):
    return Subspace("axes", AT, np.eye(WIDTH, dtype=np.float32)[list(which)])


def test_a_planted_subspace_is_found_with_the_share_it_holds():
    blocks = planted(np.random.default_rng(0))
    found = difference_subspace("d", AT, blocks, dimension=3)
    assert np.degrees(principal_angles(found, axes(0, 1, 2))).max() < 1
    assert found.variance_captured == pytest.approx(share_held(found, blocks), abs=1e-6)
    assert found.variance_captured > 0.99


def test_the_basis_does_not_depend_on_how_rows_come_in_blocks():
    blocks = planted(np.random.default_rng(1))
    once = difference_subspace("d", AT, [np.concatenate(blocks)], dimension=2)
    many = difference_subspace("d", AT, (row[None] for b in blocks for row in b), dimension=2)
    assert principal_angles(once, many).max() < 1e-3


def test_a_constant_difference_is_found_though_nothing_varies():
    blocks = [np.tile(np.eye(WIDTH)[5], (10, 1))]
    found = difference_subspace("d", AT, blocks, dimension=1)
    assert abs(found.basis[0, 5]) == pytest.approx(1)


def test_random_subspaces_hold_what_chance_gives():
    blocks = planted(np.random.default_rng(2))
    held = [share_held(random_subspace("r", AT, 3, WIDTH, seed=s), blocks) for s in range(300)]
    assert np.mean(held) == pytest.approx(3 / WIDTH, rel=0.15)
    same = [random_subspace("r", AT, 3, WIDTH, seed=7).basis for _ in range(2)]
    assert (same[0] == same[1]).all()


@pytest.mark.parametrize("dimension", [-1, 0, WIDTH, WIDTH + 1])
def test_nothing_and_everything_are_refused_by_name(dimension):
    blocks = planted(np.random.default_rng(3))
    with pytest.raises(UnusableActivations, match=f"'mine' is to have {dimension} of {WIDTH}"):
        difference_subspace("mine", AT, blocks, dimension=dimension)
    with pytest.raises(UnusableActivations, match="'mine'"):
        random_subspace("mine", AT, dimension, WIDTH)


def test_no_difference_has_no_subspace():
    with pytest.raises(UnusableActivations, match="only 0 directions"):
        difference_subspace("d", AT, [np.zeros((5, WIDTH))], dimension=1)
    with pytest.raises(UnusableActivations, match="only 1 directions"):
        difference_subspace("d", AT, [np.tile(np.eye(WIDTH)[2], (9, 1))], dimension=2)
    with pytest.raises(UnusableActivations, match="no difference"):
        difference_subspace("d", AT, [], dimension=1)
    with pytest.raises(UnusableActivations, match="NaN"):
        difference_subspace("d", AT, [np.full((2, WIDTH), np.nan)], dimension=1)


def test_directions_of_one_point_span_a_subspace():
    eye = np.eye(WIDTH, dtype=np.float32)
    items = [Direction("a", AT, 2 * eye[0]), Direction("b", AT, eye[0] + eye[1])]
    assert principal_angles(span_of("s", items), axes(0, 1)).max() < 1e-3
    with pytest.raises(MisalignedActivations, match="one hook point"):
        span_of("s", [items[0], Direction("c", "vlm.2.resid_post", eye[2])])
    with pytest.raises(UnusableActivations, match="spanned by nothing"):
        span_of("s", [])


def test_angles_of_equal_orthogonal_and_tilted_subspaces():
    assert principal_angles(axes(0, 1), axes(0, 1)).max() < 1e-3
    assert np.degrees(principal_angles(axes(0), axes(1))) == pytest.approx([90])
    eye = np.eye(WIDTH, dtype=np.float32)
    tilted = Subspace.spanned_by("t", AT, [eye[0], eye[1] + eye[2]])
    assert np.degrees(principal_angles(axes(0, 1), tilted)) == pytest.approx([0, 45], abs=0.1)
    with pytest.raises(MisalignedActivations, match="different spaces"):
        principal_angles(axes(0), random_subspace("r", AT, 1, WIDTH + 1))


def test_separability_says_aligned_apart_and_random():
    assert separability(axes(0, 1, 2), axes(0, 1, 3)).verdict == "aligned"
    assert separability(axes(*range(8)), axes(*range(8, 16))).verdict == "apart"
    found = separability(axes(0, 1), random_subspace("r", AT, 2, WIDTH, seed=5))
    assert found.null_low < found.score < found.null_high
    assert found.null_mean == pytest.approx(1 - 2 / WIDTH, abs=0.02)


def test_unrelated_subspaces_are_told_apart_no_more_often_than_the_level_says():
    """200 null repetitions: at most as many as Bin(200, 0.05) exceeds once in a thousand."""
    found = [
        separability(
            random_subspace("a", AT, 3, WIDTH, seed=2 * i),
            random_subspace("b", AT, 2, WIDTH, seed=2 * i + 1),
            draws=199,
            seed=i,
        ).verdict
        for i in range(200)
    ]
    false = sum(v != "as random" for v in found)
    assert false <= binom.ppf(0.999, 200, 0.05)


def test_differences_are_taken_at_equal_moments(toy_recording):
    source, target = toy_recording
    blocks = list(differences(source, target, HookPoint.parse(AT), {"target": "source"}))
    assert len(blocks) == 1
    soft = list(
        differences(
            source, target, HookPoint.parse(AT), {"target": "source"}, tokens=["soft_prompt"]
        )
    )
    assert soft[0].shape == (2, 128)
    assert np.abs(soft[0][:, 11:14]).max() > 0.5  # where the asked colour is
    with pytest.raises(MisalignedActivations, match="share no recorded moment"):
        list(differences(source, target, HookPoint.parse(AT), {"target": "nothing"}))


@pytest.fixture
def toy_recording():
    from dataclasses import replace

    from vlascope.hooks import Moment
    from vlascope.loading import load
    from vlascope.recording import RecordSpec, capture

    adapter = load("toy", "bundled")
    red = adapter.example_observation(0)
    green = replace(red, instruction="go to the green point")
    spec = RecordSpec(at=(AT,))
    return tuple(
        capture(adapter, [seen] * 2, spec, moments=[Moment(name, 0, 0), Moment(name, 2, 1)])
        for name, seen in (("source", green), ("target", red))
    )
