"""Interventions at work: restricted, composed, receipted, and always removed."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from vlascope.conformance.adapter_subject import count_hooks
from vlascope.errors import EditMisfired, IncompatibleError, MisalignedActivations, UnknownName
from vlascope.hooks import Moment
from vlascope.intervening import intervene
from vlascope.interventions import Identity, Intervention, RandomDirection, Steer, ZeroAblate
from vlascope.noise import generator_for

POST = "vlm.1.resid_post"


def run(adapter, *seeds, moments=None):
    rows = [adapter.example_observation(seed) for seed in seeds or (0,)]
    noise = [generator_for(i) for i, _ in enumerate(rows)]
    return adapter.infer(rows, generators=noise, moments=moments).actions


def seen_at(adapter, point, *edits, moments=None, seeds=(0,)):
    with adapter.intervene(*edits) as editing, adapter.record(point) as cache:
        run(adapter, *seeds, moments=moments)
    return cache.stack(point), editing.receipts


def test_an_edit_is_seen_at_its_point(toy):
    stack, (receipt,) = seen_at(toy, POST, ZeroAblate(at=POST))
    assert not stack.any()
    assert (receipt.fired, receipt.expected, receipt.mismatches) == ({0: 1}, 1, 0)
    assert receipt.dx_ratio_mean == pytest.approx(1.0)


class Choosy(Identity):
    """Suits no policy."""

    def check(self, info, points):
        raise IncompatibleError(f"not {info.name} at {points[0]}")


def test_an_edit_may_refuse_a_policy_before_anything_is_hooked(toy):
    for edit in (Choosy(at=POST), RandomDirection(at=POST, like=Choosy(at=POST))):
        with pytest.raises(IncompatibleError, match=f"not toy at {POST}"):
            seen_at(toy, POST, Identity(at=POST), edit)
    assert count_hooks(toy.model) == 0


def test_only_the_named_tokens_are_edited(toy):
    plain, _ = seen_at(toy, POST, Identity(at=POST))
    stack, _ = seen_at(toy, POST, ZeroAblate(at=POST, tokens="image.*"))
    assert not stack[..., :16, :].any()
    assert torch.equal(stack[..., 16:, :], plain[..., 16:, :])


def test_only_the_named_calls_are_edited(toy):
    point = "expert.1.mlp_out"
    stack, (receipt,) = seen_at(toy, point, ZeroAblate(at=point, calls=(1, 3)))
    assert [bool(call.any()) for call in stack] == [True, False, True, False]
    assert receipt.fired == {1: 1, 3: 1}


def test_only_the_named_episodes_and_steps_are_edited(toy):
    moments = [Moment("a", 0, 0), Moment("b", 6, 3)]
    by_episode, (one,) = seen_at(
        toy, POST, ZeroAblate(at=POST, episodes="b"), moments=moments, seeds=(0, 1)
    )
    by_step, (two,) = seen_at(
        toy, POST, ZeroAblate(at=POST, steps=(6, 8)), moments=moments, seeds=(0, 1)
    )
    for stack in (by_episode, by_step):
        assert [bool(row.any()) for row in stack[0]] == [True, False]
    assert one.edits == two.edits == 1


def test_edits_compose_in_the_order_given(toy):
    up = Steer(at=POST, direction=torch.eye(128)[0], strength=3.0)
    zero = ZeroAblate(at=POST)
    last_zero, _ = seen_at(toy, POST, up, zero)
    last_up, _ = seen_at(toy, POST, zero, up)
    assert not last_zero.any()
    assert torch.equal(last_up[0, 0, :, 0], torch.full((28,), 3.0))


def test_receipts_are_kept_by_episode(toy):
    moments = [Moment("a", 0, 0), Moment("b", 0, 0)]
    with toy.intervene(ZeroAblate(at="expert.*.mlp_out", episodes=("a", "b"))) as editing:
        run(toy, 0, 1, moments=moments)
    (of_a,), (of_all,) = editing.receipts_of("a"), editing.receipts
    assert (of_a.edits, of_all.edits, of_all.points) == (8, 16, 2)


def test_an_edit_that_never_fires_is_an_error(toy):
    with (
        pytest.raises(EditMisfired, match="never fired"),
        toy.intervene(ZeroAblate(at=POST, steps=(50, 60))),
    ):
        run(toy)


def test_an_edit_may_be_allowed_to_rest(toy):
    with intervene(toy, ZeroAblate(at=POST, steps=(50, 60)), must_fire=False) as editing:
        run(toy)
    assert editing.receipts[0].dx_ratio_mean is None


def test_tokens_that_no_row_has_are_mismatches(toy):
    silent = replace(toy.example_observation(0), instruction="")
    with intervene(toy, ZeroAblate(at=POST, tokens="instruction"), must_fire=False) as editing:
        toy.infer([silent, toy.example_observation(1)])
    (receipt,) = editing.receipts
    assert (receipt.edits, receipt.expected, receipt.mismatches) == (1, 2, 1)


def test_a_call_that_never_happens_is_refused_at_once(toy):
    with (
        pytest.raises(EditMisfired, match=r"calls 0\.\.3"),
        toy.intervene(ZeroAblate(at="expert.1.mlp_out", calls=(4,))),
    ):
        pass


def test_a_point_that_fires_another_number_of_times_is_an_error(toy):
    pathways = [replace(p, calls_per_chunk=2) for p in toy.info.pathways]
    toy.info = replace(toy.info, pathways=tuple(pathways))
    with (
        pytest.raises(EditMisfired, match="fired 1 times in a chunk, its pathway declares 2"),
        toy.intervene(ZeroAblate(at=POST)),
    ):
        run(toy)
    assert count_hooks(toy.model) == 0


class Grows(Intervention):
    kind: Literal["grows"] = "grows"

    def edit(self, activation, firing):
        return torch.cat([activation, activation], dim=1)


def test_an_edit_that_changes_the_shape_is_an_error(toy):
    with (
        pytest.raises(MisalignedActivations, match="keeps the shape"),
        toy.intervene(Grows(at=POST)),
    ):
        run(toy)


def test_tokens_without_spans_are_an_error(toy, monkeypatch):
    monkeypatch.setattr(type(toy), "token_spans", lambda *_args, **_kwargs: {})
    with (
        pytest.raises(MisalignedActivations, match="declares none"),
        toy.intervene(ZeroAblate(at=POST, tokens="state")),
    ):
        run(toy)


def test_running_past_infer_is_an_error(toy):
    rows = [toy.example_observation(0)]
    with (
        pytest.raises(RuntimeError, match=r"call adapter\.infer"),
        toy.intervene(Identity(at=POST)),
    ):
        toy.predict_chunk(rows, generators=[generator_for(0)])


@pytest.mark.parametrize("wrong", [ValueError, KeyboardInterrupt])
def test_hooks_are_removed_whatever_is_raised(toy, wrong):
    before = run(toy)
    with pytest.raises(wrong), toy.intervene(ZeroAblate(at="*")), toy.record("*"):
        raise wrong
    assert count_hooks(toy.model) == 0
    assert np.array_equal(run(toy), before)


def test_a_second_intervention_that_matches_nothing_undoes_the_first(toy):
    with (
        pytest.raises(UnknownName, match="ears"),
        toy.intervene(ZeroAblate(at=POST), ZeroAblate(at="ears.*")),
    ):
        pass
    assert count_hooks(toy.model) == 0
    assert toy._sessions == []
