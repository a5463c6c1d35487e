"""Evaluations give the numbers that can be worked out by hand, and the toy policy's known truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError, UnusableActivations
from vlascope.interventions import Identity, MeanAblate
from vlascope_adapters.toy.adapter import ToyAdapter
from vlascope_adapters.toy.weights import COLOURS, VLM
from vlascope_benchmarks.toy.env import ToyBenchmark
from vlascope_sae.architectures import build
from vlascope_sae.evaluation.actions import action_fidelity, mean_ablation
from vlascope_sae.evaluation.deciles import NormDeciles
from vlascope_sae.evaluation.directions import (
    decoder_redundancy,
    largest_cosines,
    matched_cosines,
    seed_stability,
)
from vlascope_sae.evaluation.reconstruction import (
    ReconstructionPass,
    density,
    evaluate_reconstruction,
)
from vlascope_sae.evaluation.schema import SCHEMA, read_evaluation, write_evaluation
from vlascope_sae.evaluation.situations import played_situations
from vlascope_sae.splicing import Reconstruct

AT = "vlm.1.resid_post"
WIDTH = 128


def signs(width, k=None):
    """Both signs of every dimension as directions; exact with k = width."""
    sae = build({"architecture": "topk", "d_in": width, "d_sae": 2 * width, "k": k or width})
    both = torch.cat([torch.eye(width), -torch.eye(width)])
    with torch.no_grad():
        sae.W_dec.copy_(both)
        sae.W_enc.copy_(both.T)
    return sae


def rows(n, width, *, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def test_a_perfect_dictionary_explains_everything():
    found = evaluate_reconstruction(signs(6), [rows(50, 6)], "perfect")
    assert found.fvu == pytest.approx(0, abs=1e-10)
    assert found.l0 == pytest.approx(6)
    assert found.dead == 0
    assert found.rows == 50


def test_one_direction_per_row_explains_its_share():
    x = torch.tensor([[3.0, 1.0], [-3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]])
    found = evaluate_reconstruction(signs(2, k=1), [x], "one")
    assert found.fvu == pytest.approx(4 / 40)
    assert found.l0 == 1
    assert found.dead == 0.5
    assert found.density.never == 2
    assert sum(found.density.counts) == 2


def test_how_rows_are_cut_into_batches_does_not_matter():
    x = rows(97, 6) * torch.linspace(0.1, 30, 97)[:, None]
    sae = signs(6, k=2)
    whole = evaluate_reconstruction(sae, [x], "a")
    parts = evaluate_reconstruction(sae, x.split(7), "a")
    for cut, uncut in zip(parts.deciles, whole.deciles, strict=True):
        assert cut.model_dump() == pytest.approx(uncut.model_dump(), rel=1e-9)
    assert (parts.rows, parts.l0, parts.density) == (whole.rows, whole.l0, whole.density)
    assert parts.fvu == pytest.approx(whole.fvu, rel=1e-9)


def test_deciles_hold_a_tenth_each_and_show_that_large_rows_are_described_worse():
    x = rows(2000, 8) * torch.linspace(1, 50, 2000)[:, None]
    x_hat = torch.where(x.norm(dim=1, keepdim=True) > 80, 0.5 * x, x)
    deciles = NormDeciles()
    deciles.add(x, x_hat, torch.ones(2000, dtype=torch.int64))
    found = deciles.result(x.double().mean(0))
    assert len(found) == 10
    assert sum(d.rows for d in found) == 2000
    assert all(abs(d.rows - 200) < 40 for d in found)
    assert found[0].fvu == found[0].relative_error == 0
    assert found[-1].relative_error == pytest.approx(0.5)
    last = x[x.norm(dim=1) >= found[-1].norm_low]
    spread = (last - x.mean(0)).double().square().sum()
    assert found[-1].fvu == pytest.approx(float((0.5 * last).double().square().sum() / spread))


def test_rows_of_one_norm_are_one_group():
    deciles = NormDeciles()
    x = torch.eye(4)
    deciles.add(x, x, torch.ones(4, dtype=torch.int64))
    assert len(deciles.result(x.double().mean(0))) == 1


def test_firing_rates_fall_into_half_decades():
    found = density(torch.tensor([0.0, 1.0, 0.5, 0.011, 1e-12]).double())
    assert found.never == 1
    assert found.counts[-1] == 2
    assert found.counts[found.edges.index(-2.0)] == 1
    assert found.counts[0] == 1


def test_rates_are_shares_of_rows_also_for_signed_latents():
    sae = build({"architecture": "topk", "d_in": 2, "d_sae": 2, "k": 1, "signed": True})
    with torch.no_grad():
        sae.W_dec.copy_(torch.eye(2))
        sae.W_enc.copy_(torch.eye(2))
    seen = ReconstructionPass(sae)
    seen.add(torch.tensor([[-1.0, -3.0], [2.0, 1.0], [5.0, 1.0], [1.0, 0.5]]))
    assert seen.firing_rates.sum() <= 1
    assert seen.firing_rates[0] == pytest.approx(1.0)


def test_unusable_rows_are_refused():
    broken = torch.ones(2, 6)
    broken[0, 0] = float("nan")
    with pytest.raises(UnusableActivations, match="1 of the 12 numbers"):
        evaluate_reconstruction(signs(6), [broken], "nan")
    with pytest.raises(UnusableActivations, match="without variance"):
        evaluate_reconstruction(signs(6), [torch.ones(9, 6)], "constant")
    with pytest.raises(UnusableActivations, match="0 rows"):
        evaluate_reconstruction(signs(6), [], "none")


def test_a_transcoder_is_judged_by_what_it_predicts():
    sae = build({"architecture": "topk", "d_in": 3, "d_out": 2, "d_sae": 4, "k": 4})
    x, target = rows(20, 3), rows(20, 2, seed=1)
    with torch.no_grad():
        wanted = sae(x)
    assert evaluate_reconstruction(sae, [(x, wanted)], "t").fvu == pytest.approx(0, abs=1e-10)
    assert evaluate_reconstruction(sae, [(x, target)], "t").fvu > 0.5
    with pytest.raises(UnusableActivations, match="give target too"):
        evaluate_reconstruction(sae, [x], "t")


def test_redundancy_finds_the_copied_direction():
    sae = signs(6)
    with torch.no_grad():
        sae.W_dec[3] = sae.W_dec[0]
    found = decoder_redundancy(sae, "copied")
    assert found.largest == pytest.approx(1)
    assert found.share_above["0.9"] == pytest.approx(2 / 12)
    alive = torch.ones(12, dtype=torch.bool)
    alive[3] = False
    assert decoder_redundancy(sae, "copied", alive=alive).share_above["0.9"] == 0


def test_largest_cosines_are_those_of_the_whole_matrix(monkeypatch):
    monkeypatch.setattr("vlascope_sae.evaluation.directions._BLOCK", 7)
    x = torch.nn.functional.normalize(rows(23, 5), dim=1)
    whole = (x @ x.T).fill_diagonal_(-2).max(1).values
    torch.testing.assert_close(largest_cosines(x), whole)


def test_a_shuffled_copy_is_perfectly_stable_and_a_random_one_is_not():
    first, second, other = (torch.randn(20, 64, generator=torch.Generator().manual_seed(s))
                            for s in (0, 0, 1))  # fmt: skip
    second = second[torch.randperm(20, generator=torch.Generator().manual_seed(2))]
    assert matched_cosines(first, second).min() == pytest.approx(1)
    assert matched_cosines(first, other).max() < 0.7


def test_each_direction_is_matched_once():
    first = torch.eye(3)
    second = torch.tensor([[1.0, 0, 0], [1, 0.01, 0], [0, 0, 1]])
    found = matched_cosines(first, second)
    assert found.sort().values[0] < 0.1
    sae, other = signs(3), signs(4)
    assert seed_stability(sae, sae, "a", "a").share_above == {"0.5": 1, "0.7": 1, "0.9": 1}
    with pytest.raises(IncompatibleError, match=r"3 wide.*4"):
        seed_stability(sae, other, "a", "b")


@pytest.fixture(scope="module")
def policy():
    return ToyAdapter.from_pretrained()


@pytest.fixture(scope="module")
def situations(policy):
    tasks = [f"shared/{c}" for c in COLOURS]
    return played_situations(policy, ToyBenchmark(), tasks, [0, 1], every=3, max_steps=20)


def test_situations_are_what_an_episode_shows_at_each_kept_chunk(situations):
    first = [s for s in situations if s.moment.episode == "shared/red/0"]
    assert [s.moment.chunk for s in first][:3] == [0, 3, 6]
    assert [s.moment.step for s in first][:3] == [0, 6, 12]
    assert {s.task for s in first} == {"shared/red"}
    assert len({s.moment.episode for s in situations}) == 6
    assert not np.array_equal(
        first[0].observation.state["position"], first[1].observation.state["position"]
    )


def test_a_perfect_dictionary_is_faithful(policy, situations):
    found = action_fidelity(policy, situations, Reconstruct(at=AT, sae=signs(WIDTH)))
    assert found.fidelity.value == pytest.approx(1, abs=1e-5)
    assert found.fidelity.n == len(found.episodes) == 6
    assert found.moved_by_zero.value > 0.05
    assert found.moved.value < 1e-6
    assert found.dx_ratio < 1e-6
    assert "tasks" in found.fidelity.method


def test_without_the_asked_colours_it_is_no_better_than_the_mean(policy, situations):
    sae = signs(WIDTH)
    with torch.no_grad():
        sae.W_dec[VLM["asked"]] = 0
    splice = Reconstruct(at=AT, sae=sae, tokens="soft_prompt")
    lost = action_fidelity(policy, situations, splice)
    assert lost.fidelity.value < 0.3
    assert lost.fidelity.low < lost.fidelity.value < lost.fidelity.high
    assert lost.zero == "mean_ablate"
    assert lost.tokens == ("soft_prompt",)


def test_the_zero_point_itself_is_0_and_changing_nothing_is_1(policy, situations):
    zero = mean_ablation(policy, situations, Identity(at=AT, tokens="soft_prompt"))
    assert isinstance(zero, MeanAblate)
    found = action_fidelity(policy, situations, zero, zero=zero)
    assert found.fidelity.value == 0
    identity = action_fidelity(policy, situations, Identity(at=AT, tokens="soft_prompt"), zero=zero)
    assert identity.fidelity.value == 1


def test_where_not_even_the_zero_point_moves_anything_fidelity_is_missing(policy, situations):
    splice = Reconstruct(at=AT, sae=signs(WIDTH), tokens="padding")
    found = action_fidelity(policy, situations, splice)
    assert found.fidelity.value is None
    assert found.fidelity.missing == 6
    assert {e.fidelity for e in found.episodes} == {None}


def test_dead_points_and_no_situations_are_refused(policy, situations):
    with pytest.raises(IncompatibleError, match="cannot reach the action"):
        action_fidelity(policy, situations, Reconstruct(at="vlm.3.resid_post", sae=signs(WIDTH)))
    with pytest.raises(UnusableActivations, match="none were given"):
        action_fidelity(policy, [], Reconstruct(at=AT, sae=signs(WIDTH)))


def test_an_evaluation_survives_its_file_and_other_files_are_refused(tmp_path, policy, situations):
    made = [
        evaluate_reconstruction(signs(6), [rows(50, 6)], "a"),
        decoder_redundancy(signs(6), "a"),
        seed_stability(signs(6), signs(6), "a", "b"),
        action_fidelity(policy, situations[:4], Reconstruct(at=AT, sae=signs(WIDTH))),
    ]
    for number, evaluation in enumerate(made):
        path = write_evaluation(tmp_path / f"{number}.json", evaluation)
        assert json.loads(path.read_text())["schema_version"] == SCHEMA
        assert read_evaluation(path) == evaluation
    plain = json.loads(path.read_text()) | {"schema_version": "vlascope.sae-evaluation/2"}
    path.write_text(json.dumps(plain))
    with pytest.raises(CorruptFile, match="schema_version"):
        read_evaluation(path)
    with pytest.raises(FileMissing):
        read_evaluation(tmp_path / "nothing.json")
