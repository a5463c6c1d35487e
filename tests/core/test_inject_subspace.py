"""Injecting within a subspace on the toy policy, where it is known what carries the goal."""

from dataclasses import replace

import numpy as np
import pytest

from vlascope.directions import Subspace, save_directions
from vlascope.errors import IncompatibleError, UnusableActivations
from vlascope.hooks import HookPoint, Moment
from vlascope.interventions import InjectSubspace, parse_intervention
from vlascope.loading import load
from vlascope.noise import generator_for
from vlascope.recording import capture

AT = "vlm.1.resid_post"
ASKED = slice(11, 14)


@pytest.fixture(scope="module")
def toy():
    return load("toy", "bundled")


@pytest.fixture(scope="module")
def seen(toy):
    return toy.example_observation(0)


@pytest.fixture(scope="module")
def green(toy, seen):
    """What the run told `green` computes, under the target's episode name."""
    other = replace(seen, instruction="go to the green point")
    return capture(toy, [other], [AT], moments=[Moment("e", 0, 0)])


def acted(toy, seen, *edits):
    with toy.intervene(*edits):
        return toy.infer([seen], generators=[generator_for(0)], moments=[Moment("e", 0, 0)]).actions


def asked():
    return Subspace("asked", AT, np.eye(128, dtype=np.float32)[ASKED])


def injection(green, **how):
    return InjectSubspace(at=AT, source=green, tokens="soft_prompt", **how)


@pytest.fixture
def file(tmp_path):
    return save_directions(tmp_path / "found.safetensors", [asked()])


def test_the_asked_dimensions_carry_all_of_it_and_random_ones_nothing(toy, seen, green, file):
    named = {"file": str(file), "name": "asked"}
    told = toy.infer(
        [replace(seen, instruction="go to the green point")], generators=[generator_for(0)]
    ).actions
    own = acted(toy, seen)
    assert np.abs(told - own).max() > 0.5
    assert acted(toy, seen, injection(green, basis=named)) == pytest.approx(told, abs=1e-4)
    for seed in range(20):
        moved = acted(toy, seen, injection(green, basis=named, random=seed))
        assert np.abs(moved - own).max() < 0.1


def test_its_random_control_is_of_equal_dimension_and_moves_less(toy, seen, green, file):
    written = {"kind": "inject_subspace", "at": AT, "basis": {"file": str(file), "name": "asked"}}
    control = InjectSubspace.control("random_subspace", written)
    assert control == {**written, "random": 0}
    ratios = []
    for edit in (written, control):
        made = parse_intervention({**edit, "source": green, "tokens": "soft_prompt"})
        with toy.intervene(made) as editing:
            toy.infer([seen], generators=[generator_for(0)], moments=[Moment("e", 0, 0)])
        ratios.append(editing.receipts[0].dx_ratio_mean)
    assert 0 < ratios[1] < ratios[0]


def test_written_down_by_name_and_content_hash(green, file):
    edit = injection(green, basis={"file": str(file), "name": "asked"})
    written = edit.model_dump(mode="json")
    assert written["basis"] == {
        "file": str(file),
        "names": ["asked"],
        "sha256": [asked().sha256],
    }
    assert parse_intervention(written).model_dump(mode="json") == written
    save_directions(file, [Subspace("asked", AT, np.eye(128, dtype=np.float32)[:3])])
    with pytest.raises(ValueError, match="is not what it was"):
        parse_intervention(written)


def test_nothing_everything_and_another_width_are_refused_before_anything_runs(toy, green):
    point = [HookPoint.parse(AT)]
    for rows, error, said in (
        (np.eye(128), UnusableActivations, f"'basis for {AT}' is to have 128 of 128"),
        (np.zeros((0, 128)), UnusableActivations, f"'basis for {AT}' is to have 0 of 128"),
        (np.eye(64)[:2], IncompatibleError, "64 wide"),
    ):
        with pytest.raises(error, match=said):
            injection(green, basis={AT: rows.tolist() or np.zeros((0, 128))}).check(toy.info, point)
