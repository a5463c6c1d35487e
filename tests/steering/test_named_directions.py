"""Edits that name a direction in a file: the same numbers, tied to their content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vlascope import load
from vlascope.directions import Direction, Subspace, save_directions
from vlascope.errors import IncompatibleError, UnknownName
from vlascope.hooks import Firing, HookPoint, Moment
from vlascope.interventions import ProjectOut, RandomDirection, Steer, parse_intervention
from vlascope.rollout.identity import digest_context
from vlascope.rollout.spec import BenchmarkSpec

AT = "vlm.1.resid_post"
FIRING = Firing(HookPoint.parse(AT), 0, (Moment("e", 0, 0),))
X = torch.randn(1, 5, 128, generator=torch.Generator().manual_seed(0))


def a_file(path: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    fast = Direction("fast", AT, rng.standard_normal(128), found_by={"by": "hand"})
    return save_directions(path, [fast, Subspace.spanned_by("pair", AT, rng.random((2, 128)))])


def context(edit: object, run_dir: Path) -> dict[str, str]:
    return digest_context(
        load("toy"),
        BenchmarkSpec(name="toy"),
        run_dir,
        interventions=[edit],  # type: ignore[list-item]
        record=None,
        perturb=None,
        batch_mode="exact",
    )


def test_a_named_direction_steers_like_its_vector(tmp_path: Path) -> None:
    path = a_file(tmp_path / "d.safetensors")
    named = Steer(at=AT, direction={"file": str(path), "name": "fast"}, strength=0.5, relative=True)
    vector = torch.from_numpy(np.random.default_rng(0).standard_normal(128)).float()
    plain = Steer(at=AT, direction=vector, strength=0.5, relative=True)
    torch.testing.assert_close(named.edit(X, FIRING), plain.edit(X, FIRING))
    ratio = (named.edit(X, FIRING) - X).norm(dim=-1) / X.norm(dim=-1)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.5))
    shorter = Steer(at=AT, direction=f"{path}#fast", strength=0.5, relative=True)
    assert shorter.model_dump() == named.model_dump()
    assert parse_intervention(named.model_dump(mode="json")).model_dump() == named.model_dump()


def test_a_named_subspace_or_direction_is_projected_out(tmp_path: Path) -> None:
    path = str(a_file(tmp_path / "d.safetensors"))
    for field, name, removed in (("directions", "pair", 2), ("direction", "fast", 1)):
        edit = ProjectOut.model_validate({"at": AT, field: {"file": path, "name": name}})
        rows = torch.cat([edit.edit(x[None, None], FIRING)[0] for x in torch.eye(128)])
        assert int(torch.linalg.matrix_rank(rows)) == 128 - removed


def test_steering_needs_one_direction_not_a_subspace(tmp_path: Path) -> None:
    path = str(a_file(tmp_path / "d.safetensors"))
    with pytest.raises(ValueError, match="subspace of 2"):
        Steer(at=AT, direction={"file": path, "name": "pair"}, strength=1)
    with pytest.raises(UnknownName, match="'fast'"):
        Steer(at=AT, direction={"file": path, "name": "fsat"}, strength=1)


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    here, there = a_file(tmp_path / "d.safetensors"), a_file(tmp_path / "moved" / "e.safetensors")
    steer = {
        "kind": "steer",
        "at": AT,
        "strength": 1,
        "direction": {"file": str(here), "name": "fast"},
    }
    before = parse_intervention(steer)
    moved = parse_intervention({**steer, "direction": f"{there}#fast"})
    assert context(before, tmp_path) == context(moved, tmp_path)
    a_file(here, seed=1)
    after = parse_intervention(steer)
    assert context(before, tmp_path)["interventions"] != context(after, tmp_path)["interventions"]
    with pytest.raises(ValueError, match=r"'fast' of .* is not what it was"):
        parse_intervention(before.model_dump(mode="json"))


def test_another_site_is_refused_by_name_before_anything_is_inferred(tmp_path: Path) -> None:
    path = str(a_file(tmp_path / "d.safetensors"))
    toy = load("toy")
    named = {"file": path, "name": "fast"}
    for at in ("vlm.2.resid_post", "vlm.*.resid_post", "expert.0.resid_post"):
        for edit in (
            Steer(at=at, direction=named, strength=1),
            ProjectOut(at=at, directions=named),
            RandomDirection(at=at, like=Steer(at=at, direction=named, strength=1)),
        ):
            with (
                pytest.raises(IncompatibleError, match=f"'fast' was found at {AT}"),
                toy.intervene(edit),
            ):
                pass
    with (
        pytest.raises(IncompatibleError, match="32 wide, vlm"),
        toy.intervene(Steer(at=AT, direction=torch.ones(32), strength=1)),
    ):
        pass


def test_other_layers_of_the_same_site_may_be_asked_for(tmp_path: Path) -> None:
    named = {"file": str(a_file(tmp_path / "d")), "name": "fast", "layers": True}
    toy = load("toy")
    with toy.intervene(Steer(at="vlm.*.resid_post", direction=named, strength=1)) as editing:
        toy.infer([toy.example_observation()])
        assert editing.receipts[0].edits == 4
