"""Directions and subspaces: kept exactly, tied to where they were found, refused when foreign."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vlascope import load
from vlascope.directions import Direction, Subspace, load_directions, save_directions
from vlascope.errors import (
    CorruptFile,
    FileMissing,
    IncompatibleError,
    InvalidName,
    UnknownName,
    UnusableActivations,
)
from vlascope.hooks import HookPoint

AT = "vlm.1.resid_post"


def a_direction(name: str = "fast", width: int = 128, at: str = AT) -> Direction:
    vector = np.random.default_rng(0).standard_normal(width).astype(np.float32)
    return Direction(name, at, vector, scale=2.5, about="moves fast", found_by={"by": "hand"})


def a_subspace(name: str = "goals") -> Subspace:
    rows = np.random.default_rng(1).standard_normal((3, 128))
    return Subspace.spanned_by(name, AT, rows, variance_captured=0.8)


def test_what_is_saved_comes_back_exactly(tmp_path: Path) -> None:
    fast, goals = a_direction(), a_subspace()
    path = save_directions(tmp_path / "d.safetensors", [fast, goals], {"policy": "toy"})
    found = load_directions(path)
    assert list(found) == ["fast", "goals"]
    assert found.provenance == {"policy": "toy"}
    back = found.direction("fast")
    assert (back.at, back.scale, back.about, back.found_by) == (
        AT,
        2.5,
        "moves fast",
        {"by": "hand"},
    )
    np.testing.assert_array_equal(back.vector, fast.vector)
    np.testing.assert_array_equal(found.subspace("goals").basis, goals.basis)
    assert found.subspace("goals").variance_captured == 0.8
    assert back.sha256 == fast.sha256 != goals.sha256


def test_the_hash_covers_the_vector_and_where_it_was_found() -> None:
    vector = np.ones(4)
    hashes = {
        Direction("a", AT, vector).sha256,
        Direction("a", "vlm.2.resid_post", vector).sha256,
        Direction("a", AT, 2 * vector).sha256,
    }
    assert len(hashes) == 3
    assert Direction("other name", AT, vector).sha256 in hashes


def test_an_unknown_name_lists_what_is_close(tmp_path: Path) -> None:
    found = load_directions(save_directions(tmp_path / "d", [a_direction(), a_subspace()]))
    with pytest.raises(UnknownName, match="did you mean 'fast'"):
        found.direction("fasst")
    with pytest.raises(UnknownName, match="direction"):
        found.direction("goals")
    with pytest.raises(UnknownName, match="subspace"):
        found.subspace("fast")


def test_foreign_truncated_and_missing_files_are_refused(tmp_path: Path) -> None:
    whole = save_directions(tmp_path / "whole", [a_direction()])
    torn = tmp_path / "torn"
    torn.write_bytes(whole.read_bytes()[:-9])
    foreign, other = tmp_path / "foreign", tmp_path / "other"
    save_file({"w": np.zeros(3, np.float32)}, foreign)
    other.write_text("not safetensors at all, but long enough to be read as such")
    for path in (torn, foreign, other):
        with pytest.raises(CorruptFile, match=path.name):
            load_directions(path)
    with pytest.raises(FileMissing):
        load_directions(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "vector", [np.zeros(3), np.array([1, np.nan, 0]), np.array([]), np.ones((2, 2))]
)
def test_a_direction_that_points_nowhere_is_refused(vector: np.ndarray) -> None:
    with pytest.raises(UnusableActivations, match="'d'"):
        Direction("d", AT, vector)


def test_a_subspace_is_smaller_than_the_space_and_orthonormal() -> None:
    with pytest.raises(UnusableActivations, match="4 of 4"):
        Subspace("s", AT, np.eye(4, dtype=np.float32))
    with pytest.raises(UnusableActivations, match="orthonormal"):
        Subspace("s", AT, np.ones((2, 4), np.float32))
    with pytest.raises(UnusableActivations, match="empty"):
        Subspace.spanned_by("s", AT, np.zeros((2, 4)))
    assert Subspace.spanned_by("s", AT, np.ones((2, 4))).basis.shape == (1, 4)
    with pytest.raises(InvalidName):
        Subspace("s", "nowhere", np.eye(4, dtype=np.float32)[:2])


def test_another_site_or_width_is_refused_by_name() -> None:
    info = load("toy").info
    fast = a_direction()
    fast.check(info, [HookPoint.parse(AT)])
    fast.check(info, [HookPoint.parse("vlm.2.resid_post")], layers=True)
    for point, layers in [
        ("vlm.2.resid_post", False),
        ("vlm.1.resid_pre", True),
        ("expert.1.resid_post", True),
    ]:
        with pytest.raises(IncompatibleError, match=f"'fast'.*{AT}.*{point}"):
            fast.check(info, [HookPoint.parse(point)], layers=layers)
    with pytest.raises(IncompatibleError, match=r"64 wide.*128 wide"):
        a_direction(width=64).check(info, [HookPoint.parse(AT)])


def test_two_of_one_name_or_none_at_all_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fast"):
        save_directions(tmp_path / "d", [a_direction(), a_direction()])
    with pytest.raises(ValueError, match="no direction"):
        save_directions(tmp_path / "d", [])
