"""Hooked success is an ordinary study: paired, with controls, resumable."""

from __future__ import annotations

import pytest
import torch

from vlascope.errors import StudyFileError
from vlascope.study.execution import run_study
from vlascope.study.schema import PolicyChoice
from vlascope_adapters.toy.adapter import ToyAdapter
from vlascope_adapters.toy.weights import VLM
from vlascope_sae.architectures import build
from vlascope_sae.evaluation.hooked import hooked_study, hooked_success
from vlascope_sae.evaluation.schema import read_evaluation, write_evaluation
from vlascope_sae.files import Provenance, save_sae
from vlascope_sae.splicing import Reconstruct

AT = "vlm.1.resid_post"
WIDTH = 128
TOY = PolicyChoice(adapter="toy", checkpoint="bundled")


def saved(folder, *, without=None):
    """Both signs of every dimension, but for those left out."""
    sae = build({"architecture": "topk", "d_in": WIDTH, "d_sae": 2 * WIDTH, "k": WIDTH})
    both = torch.cat([torch.eye(WIDTH), -torch.eye(WIDTH)])
    with torch.no_grad():
        sae.W_dec.copy_(both)
        sae.W_enc.copy_(both.T)
        if without is not None:
            sae.W_dec[without] = 0
    hash_ = ToyAdapter.from_pretrained().info.checkpoint_hash
    return str(save_sae(folder, sae, Provenance(checkpoint_hash=hash_, hook_point=AT)))


@pytest.fixture(scope="module")
def splices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saes")
    lossy = saved(folder / "lossy", without=VLM["asked"])
    return {
        "faithful": Reconstruct(at=AT, sae=saved(folder / "exact")),
        "lossy": Reconstruct(at=AT, sae=lossy, tokens="soft_prompt"),
    }


def the_study(splices, **options):
    options = {"seeds": "0-1", "max_steps": 40, "workers": 1} | options
    return hooked_study("hooked", TOY, "toy", splices, tasks=["suite:shared"], **options)


def test_the_arms_are_the_unhooked_policy_and_each_splice_with_its_controls(splices):
    study = the_study(splices)
    assert list(study.arms) == ["unhooked", "faithful", "lossy"]
    assert study.baseline_arm == "unhooked"
    assert study.arms["unhooked"].interventions == ()
    for name, splice in splices.items():
        (edit,) = study.arms[name].interventions
        assert edit["sae"] == splice.sae.path
        assert edit["weights_sha256"] == splice.sae.weights_sha256
        assert study.arms[name].controls.by_role == {
            "identity": "auto",
            "random_direction": "auto",
        }
    alone = the_study(splices, random_direction=False)
    assert alone.arms["lossy"].controls.by_role == {"identity": "auto"}


def test_a_study_that_does_not_fit_together_is_refused(splices):
    with pytest.raises(StudyFileError, match="suite"):
        hooked_study("hooked", TOY, "toy", splices, tasks=["suite:none"], seeds=[0])
    wrong = PolicyChoice(adapter="toi", checkpoint="bundled")
    with pytest.raises(StudyFileError, match="adapter"):
        hooked_study("hooked", wrong, "toy", splices, tasks=["suite:shared"], seeds=[0])


@pytest.mark.slow
def test_success_is_kept_by_the_faithful_and_lost_by_the_lossy_dictionary(splices, tmp_path):
    outcome = run_study(the_study(splices), tmp_path, progress=False)
    assert outcome.ok, outcome.complaints
    exact, lossy = hooked_success(tmp_path)
    assert (exact.benchmark, exact.tasks, exact.seeds) == ("toy", 3, 2)
    (kept,), (lost,) = exact.arms, lossy.arms
    assert (kept.success.value, lost.success.value) == (1, 0)
    assert [c.role for c in kept.against] == ["unhooked", "identity", "random_direction"]
    assert [c.comparison.difference.value for c in kept.against[:2]] == [0, 0]
    assert kept.dx_ratio < 1e-6
    assert [c.comparison.difference.value for c in lost.against[:2]] == [-1, -1]
    assert lost.against[0].comparison.difference.n == 6
    assert lost.against[0].comparison.p == pytest.approx(2 / 2**6)
    assert lost.dx_ratio > 0.05
    path = write_evaluation(tmp_path / "hooked.json", lossy)
    assert read_evaluation(path) == lossy


@pytest.mark.slow
def test_a_splice_that_does_not_fit_fails_its_arm_alone_and_says_why(splices, tmp_path):
    wrong = {"misplaced": splices["faithful"].restricted(at="vlm.2.resid_post")}
    study = the_study(wrong, seeds=[0], max_steps=4)
    outcome = run_study(study, tmp_path, progress=False)
    ended = outcome.arms["policy"]
    assert ended["unhooked"].status == "ok"
    assert f"trained at {AT}" in ended["misplaced"].error
    (found,) = hooked_success(tmp_path)
    assert any("misplaced: failed" in line for line in found.failures)
    assert found.arms[0].success.value is None
    assert found.arms[0].success.missing == 3
