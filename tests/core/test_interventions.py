"""Every intervention: what it computes, and that it survives JSON."""

from __future__ import annotations

import pytest
import torch

from vlascope import plugins
from vlascope.errors import MisalignedActivations, UnknownName
from vlascope.hooks import Firing, HookPoint, Moment, TokenSpans
from vlascope.interventions import (
    Clamp,
    Identity,
    Inject,
    InjectSubspace,
    MeanAblate,
    ProjectOut,
    RandomDirection,
    ResampleAblate,
    Steer,
    SteerTo,
    ZeroAblate,
    parse_intervention,
)
from vlascope.recording import ActivationCache, Captured

POINT = HookPoint.parse("vlm.1.resid_post")
AT = str(POINT)
SPANS = TokenSpans({"image": (0, 2), "state": (2, 3)})


def firing(*episodes, step=0):
    moments = tuple(Moment(e, step, step) for e in episodes)
    return Firing(POINT, 0, moments, (SPANS,) * len(moments))


def values(*, seed=0, rows=1):
    return torch.randn(rows, 3, 4, generator=torch.Generator().manual_seed(seed))


def cache(**by_episode):
    kept = [
        Captured(firing(e, step=step), (v[step],), ((0, 1, 2),))
        for e, v in by_episode.items()
        for step in range(len(v))
    ]
    return ActivationCache({POINT: kept})


X = values(rows=2)
SOURCE = cache(a=values(seed=1, rows=2), b=values(seed=2, rows=2), c=values(seed=3, rows=2))
EACH = {
    "identity": Identity(at=AT),
    "zero_ablate": ZeroAblate(at=AT, calls=(0,), steps=(0, 9), tokens="state", episodes="a"),
    "mean_ablate": MeanAblate.of(SOURCE, [POINT]),
    "resample_ablate": ResampleAblate(at=AT, source=SOURCE, seed=3),
    "inject": Inject(at=AT, source=SOURCE, pairs={"a": "b"}),
    "inject_subspace": InjectSubspace(at=AT, source=SOURCE, basis={AT: torch.eye(4)[:2]}),
    "steer": Steer(at=AT, direction=torch.arange(4.0), strength=2.0),
    "steer_to": SteerTo(
        at=AT, direction=torch.arange(4.0), quantity="height", target=0.2, gain=1.0, start=0.5
    ),
    "project_out": ProjectOut(at=AT, directions=torch.eye(4)[:2]),
    "clamp": Clamp(at=AT, neurons=(1, 3), value=5.0),
    "random_direction": RandomDirection(
        at=AT, like=Steer(at=AT, direction=[1, 0, 0, 0], strength=2)
    ),
}


def test_every_registered_kind_is_tested_here():
    found = plugins.interventions()
    assert EACH.keys() == {kind for kind in found if found[kind].plugin == "builtin"}


@pytest.mark.parametrize("kind", EACH)
def test_json_round_trip_gives_the_same_edit(kind):
    edit = EACH[kind]
    again = type(edit).model_validate_json(edit.model_dump_json())
    for read in (again, parse_intervention(edit.model_dump(mode="json"))):
        assert type(read) is type(edit)
        assert (read.at, read.calls, read.steps, read.tokens) == (
            edit.at,
            edit.calls,
            edit.steps,
            edit.tokens,
        )
        assert torch.equal(read.edit(X, firing("a", "b")), edit.edit(X, firing("a", "b")))


@pytest.mark.parametrize("kind", EACH)
def test_no_edit_writes_in_place_or_changes_shape(kind):
    before = X.clone()
    new = EACH[kind].edit(X, firing("a", "b"))
    assert torch.equal(X, before)
    assert new.shape == X.shape
    assert new.data_ptr() != X.data_ptr()


def test_identity_zero_and_mean():
    assert torch.equal(EACH["identity"].edit(X, firing("a", "b")), X)
    assert not EACH["zero_ablate"].edit(X, firing("a", "b")).any()
    rows = torch.cat([SOURCE.lookup(POINT, m) for m in SOURCE.moments(POINT)])
    got = EACH["mean_ablate"].edit(X, firing("a", "b"))
    torch.testing.assert_close(got[1, 2], rows.mean(0))


def test_a_mean_per_token():
    rows = torch.stack([SOURCE.lookup(POINT, m) for m in SOURCE.moments(POINT)])
    edit = MeanAblate.of(SOURCE, [POINT], per_token=True)
    torch.testing.assert_close(edit.edit(X, firing("a", "b"))[0], rows.mean(0))


def test_a_resample_is_another_episode_at_the_same_coordinate():
    got = EACH["resample_ablate"].edit(X[:1], firing("a", step=1))[0]
    donors = [SOURCE.lookup(POINT, Moment(e, 1, 1)) for e in "bc"]
    assert any(torch.equal(got, d) for d in donors)
    alone = ResampleAblate(at=AT, source=cache(a=values()))
    with pytest.raises(MisalignedActivations, match="no other episode"):
        alone.edit(X[:1], firing("a"))


def test_injection_follows_the_coordinate_and_the_pairing():
    got = EACH["inject"].edit(X, firing("a", "c", step=1))
    assert torch.equal(got[0], SOURCE.lookup(POINT, Moment("b", 1, 1)))
    assert torch.equal(got[1], SOURCE.lookup(POINT, Moment("c", 1, 1)))


def test_an_injection_past_the_end_of_its_source():
    late = firing("a", step=7)
    with pytest.raises(MisalignedActivations, match="missing='stop' or 'hold'"):
        Inject(at=AT, source=SOURCE).edit(X[:1], late)
    held = Inject(at=AT, source=SOURCE, missing="hold").edit(X[:1], late)
    assert torch.equal(held[0], SOURCE.lookup(POINT, Moment("a", 1, 1)))
    assert not Inject(at=AT, source=SOURCE, missing="stop").concerns(POINT, late.moments[0])


def test_unequal_lengths_are_an_error_or_paired_by_span():
    theirs = TokenSpans({"image": (0, 1), "state": (1, 2)})
    short = Firing(POINT, 0, (Moment("a", 0, 0),), (theirs,))
    source = ActivationCache({POINT: [Captured(short, (torch.ones(2, 4),), ((0, 1),))]})
    with pytest.raises(MisalignedActivations, match="align='span'"):
        Inject(at=AT, source=source).edit(X[:1], firing("a"))
    got = Inject(at=AT, source=source, align="span").edit(X[:1], firing("a"))[0]
    assert torch.equal(got[[0, 2]], torch.ones(2, 4))
    assert torch.equal(got[1], X[0, 1])


def test_a_subspace_injection_moves_within_the_subspace():
    got = EACH["inject_subspace"].edit(X[:1], firing("a"))[0]
    wanted = torch.cat([SOURCE.lookup(POINT, Moment("a", 0, 0))[:, :2], X[0][:, 2:]], 1)
    torch.testing.assert_close(got, wanted)


def test_steering_adds_a_unit_direction():
    got = EACH["steer"].edit(X, firing("a", "b")) - X
    torch.testing.assert_close(got.norm(dim=-1), torch.full((2, 3), 2.0))
    relative = Steer(at=AT, direction=[1, 0, 0, 0], strength=0.5, relative=True)
    moved = relative.edit(X, firing("a", "b")) - X
    torch.testing.assert_close(moved.norm(dim=-1), 0.5 * X.norm(dim=-1))


def test_projecting_out_leaves_nothing_along_the_directions():
    directions = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0]])
    got = ProjectOut(at=AT, directions=directions).edit(X, firing("a", "b"))
    torch.testing.assert_close(got @ directions.T, torch.zeros(2, 3, 2), atol=1e-6, rtol=0)
    assert torch.equal(got[..., 2:], X[..., 2:])


def test_clamping_holds_those_neurons_alone():
    got = EACH["clamp"].edit(X, firing("a", "b"))
    assert (got[..., [1, 3]] == 5).all()
    assert torch.equal(got[..., [0, 2]], X[..., [0, 2]])
    with pytest.raises(MisalignedActivations, match="4 neurons"):
        Clamp(at=AT, neurons=(4,), value=1.0).edit(X, firing("a", "b"))


def test_a_random_direction_moves_each_token_as_far_as_what_it_is_like():
    control, like = EACH["random_direction"], EACH["random_direction"].like
    moved = control.edit(X, firing("a", "b")) - X
    wanted = (like.edit(X, firing("a", "b")) - X).norm(dim=-1)
    torch.testing.assert_close(moved.norm(dim=-1), wanted)
    torch.testing.assert_close(moved[0], moved[1])
    other = control.restricted().model_copy(update={"seed": 1})
    assert not torch.allclose(other.edit(X, firing("a", "b")) - X, moved)


def test_a_random_direction_needs_exactly_one_norm():
    with pytest.raises(ValueError, match="not both"):
        RandomDirection(at=AT)


WRONG_WIDTHS = [
    Steer(at=AT, direction=[1, 0], strength=1),
    ProjectOut(at=AT, directions=[1, 0]),
    MeanAblate(at=AT, means={AT: [1, 0]}),
    InjectSubspace(at=AT, source=SOURCE, basis={AT: [[1, 0]]}),
]


@pytest.mark.parametrize("edit", WRONG_WIDTHS, ids=lambda e: e.kind)
def test_a_wrong_width_is_refused(edit):
    with pytest.raises(MisalignedActivations, match="wide"):
        edit.edit(X, firing("a", "b"))


def test_an_unknown_kind_lists_near_matches():
    with pytest.raises(UnknownName, match="zero_ablate"):
        parse_intervention({"kind": "zero_ablation", "at": AT})
