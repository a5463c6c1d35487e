"""Recording: what is kept, addressed by coordinate, as clones; and stopping early."""

from __future__ import annotations

import pytest
import torch

from vlascope.errors import MisalignedActivations, UnknownName
from vlascope.hooks import HookPoint, Moment, TokenSpans
from vlascope.noise import generator_for
from vlascope.recording import RecordSpec, capture

POST = HookPoint.parse("vlm.1.resid_post")


def run(adapter, *seeds, moments=None):
    rows = [adapter.example_observation(seed) for seed in seeds]
    return adapter.infer(rows, generators=[generator_for(s) for s in seeds], moments=moments)


def test_a_cache_is_addressed_by_coordinate(toy):
    moments = [Moment("a", 4, 2), Moment("b", 0, 0)]
    with toy.record("vlm.1.resid_post") as cache:
        run(toy, 0, 1, moments=moments)
    assert cache.moments(POST) == moments
    row = cache.lookup(POST, Moment("a", 4, 2))
    assert torch.equal(row, cache.stack(POST)[0, 0])
    assert cache.lookup(POST, Moment("a", 5, 2)) is None
    assert "state" in cache.spans_at(POST, Moment("b", 0, 0))


def test_each_call_of_a_denoising_pathway_is_kept_apart(toy):
    with toy.record("expert.0.resid_post") as cache:
        run(toy, 0)
    assert [m.call for m in cache.moments(HookPoint.parse("expert.0.resid_post"))] == [0, 1, 2, 3]


def test_chunks_are_counted_since_the_recorder_was_opened(toy):
    with toy.record("vlm.1.resid_post") as cache:
        run(toy, 0)
        run(toy, 0)
    assert [(m.step, m.chunk) for m in cache.moments(POST)] == [(0, 0), (2, 1)]


def test_only_the_wanted_calls_tokens_and_dtype(toy):
    spec = RecordSpec(at="vlm.1.resid_post", tokens=("image.*", "state"), dtype="float16")
    with toy.record(spec) as cache:
        run(toy, 0)
    (kept,) = cache[POST]
    assert kept.rows[0].shape == (17, 128)
    assert kept.rows[0].dtype == torch.float16
    with toy.record(RecordSpec(at="expert.0.resid_post", calls=(3,))) as cache:
        run(toy, 0)
    assert [c.firing.call for c in cache["expert.0.resid_post"]] == [3]


@pytest.mark.parametrize(("pool", "reduce"), [("mean", "mean"), ("max", "amax")])
def test_pooling_reduces_tokens_to_one(toy, pool, reduce):
    with toy.record("vlm.1.resid_post") as whole:
        run(toy, 0)
    with toy.record(RecordSpec(at="vlm.1.resid_post", pool=pool)) as pooled:
        run(toy, 0)
    wanted = getattr(whole.stack(POST)[0, 0], reduce)(0, keepdim=True)
    torch.testing.assert_close(pooled.stack(POST)[0, 0], wanted)


def test_a_token_glob_that_names_nothing_lists_the_spans(toy):
    with (
        pytest.raises(UnknownName, match=r"image\.top"),
        toy.record(RecordSpec(at="vlm.1.resid_post", tokens="lidar")),
    ):
        run(toy, 0)
    assert toy._sessions == []


def test_spans_of_a_point_come_before_its_layers_and_its_pathways(toy, monkeypatch):
    def spans(observations, *, call=0):
        named = {"vlm": "pathway", "vlm.1": "layer", "vlm.1.mlp_out": "point", "vlm.2.mlp_out": "x"}
        return {where: (TokenSpans({name: (0, 28)}),) for where, name in named.items()}

    monkeypatch.setattr(toy, "token_spans", spans)
    with toy.record(["vlm.*.mlp_out", "vlm.*.resid_post", "vision.0.mlp_out"]) as cache:
        run(toy, 0)
    found = {str(p): [list(s) for c in cache[p] for s in c.firing.spans] for p in cache}
    assert found["vlm.0.mlp_out"] == found["vlm.2.resid_post"] == [["pathway"]]
    assert found["vlm.1.resid_post"] == [["layer"]]
    assert found["vlm.1.mlp_out"] == [["point"]]
    assert found["vision.0.mlp_out"] == []


def test_tokens_are_selected_by_the_spans_of_their_own_block(toy, monkeypatch):
    def spans(observations, *, call=0):
        by_layer = {f"vlm.{i}": TokenSpans({"state": (i, 2 * i)}) for i in (1, 2)}
        return {where: (span,) for where, span in by_layer.items()}

    monkeypatch.setattr(toy, "token_spans", spans)
    with toy.record(RecordSpec(at="vlm.[12].resid_post", tokens="state")) as cache:
        run(toy, 0)
    assert [len(cache[f"vlm.{i}.resid_post"][0].rows[0]) for i in (1, 2)] == [1, 2]


def test_a_glob_that_names_nothing_attaches_nothing(toy):
    with pytest.raises(UnknownName, match="resid_post"), toy.record("ears.*"):
        pass
    assert toy._sessions == []


def test_what_is_kept_is_a_clone(toy):
    """Also where the network edits its own tensors in place."""

    def wipe(_module, args):
        args[0].zero_()

    with toy.record("vlm.1.resid_post") as cache:
        handle = toy.model.get_submodule("vlm.2").register_forward_pre_hook(wipe)
        run(toy, 0)
        handle.remove()
    assert cache.stack(POST).abs().max() > 0


def test_stopping_early_records_what_a_full_run_records(toy):
    rows = [toy.example_observation(0), toy.example_observation(1)]
    noise = [generator_for(0), generator_for(1)]
    with toy.record("*") as whole:
        run(toy, 0, 1)
    for glob in ("vision.*", "vlm.1.*", "expert.*.resid_post"):
        early = capture(toy, rows, glob, generators=[generator_for(0), generator_for(1)])
        for point in early:
            assert torch.equal(early.stack(point), whole.stack(point))
    assert noise[0].initial_seed() == generator_for(0).initial_seed()
    assert toy._sessions == []


def test_stopping_early_skips_the_rest(toy):
    seen = []
    handle = toy.model.get_submodule("vlm.0").register_forward_hook(lambda *_: seen.append(1))
    capture(toy, [toy.example_observation(0)], "vision.*.resid_post")
    handle.remove()
    assert seen == []


def test_rows_of_unequal_length_do_not_stack(toy):
    with toy.record(RecordSpec(at="vlm.1.resid_post", tokens="instruction")) as cache:
        rows = [toy.example_observation(0), toy.example_observation(1)]
        from dataclasses import replace

        toy.infer([rows[0], replace(rows[1], instruction="go")])
    with pytest.raises(MisalignedActivations, match="pool"):
        cache.stack(POST)


@pytest.mark.parametrize("written", [False, True])
def test_a_tensor_two_points_share_is_cloned_again_when_written_into(toy, written):
    def write(_module, args):
        if written:
            args[0].add_(1)

    handle = toy.model.get_submodule("vlm.1").register_forward_pre_hook(write)
    try:
        with toy.record(["vlm.0.resid_post", "vlm.1.resid_pre"]) as cache:
            run(toy, 0)
    finally:
        handle.remove()
    before, after = cache.stack("vlm.0.resid_post"), cache.stack("vlm.1.resid_pre")
    assert torch.equal(after, before + 1 if written else before)
    shared = cache["vlm.0.resid_post"][0].rows[0].data_ptr()
    assert (cache["vlm.1.resid_pre"][0].rows[0].data_ptr() == shared) is not written
