"""`vlascope sae fidelity` and `success` on the toy policy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from vlascope.errors import IncompatibleError
from vlascope_adapters.toy.adapter import ToyAdapter
from vlascope_adapters.toy.weights import VLM
from vlascope_sae.architectures import build
from vlascope_sae.cli import app
from vlascope_sae.cli.judge import arm_names
from vlascope_sae.evaluation.schema import read_evaluation
from vlascope_sae.files import Provenance, save_sae
from vlascope_sae.splicing import Reconstruct

AT = "vlm.1.resid_post"
ORIGIN = Provenance(
    adapter="toy",
    checkpoint="bundled",
    checkpoint_hash=ToyAdapter.from_pretrained().info.checkpoint_hash,
    hook_point=AT,
    spans=("soft_prompt",),
    calls=(0,),
)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def saved(folder, *, without=slice(0), origin=ORIGIN):
    """Both signs of every dimension, but for those left out."""
    sae = build({"architecture": "topk", "d_in": 128, "d_sae": 256, "k": 128})
    both = torch.cat([torch.eye(128), -torch.eye(128)])
    with torch.no_grad():
        sae.W_dec.copy_(both)
        sae.W_enc.copy_(both.T)
        sae.W_dec[without] = 0
    return save_sae(folder, sae, origin)


@pytest.fixture
def folders(tmp_path):
    return saved(tmp_path / "exact"), saved(tmp_path / "lossy", without=VLM["asked"])


def test_an_edit_acts_where_the_sae_was_trained(folders, tmp_path):
    splice = Reconstruct.where_trained(folders[0])
    assert (splice.at, splice.tokens, splice.calls) == ((AT,), ("soft_prompt",), (0,))
    assert Reconstruct.where_trained(folders[0], tokens=None).tokens is None
    unknown = saved(tmp_path / "unknown", origin=Provenance())
    with pytest.raises(IncompatibleError, match="give `at`"):
        Reconstruct.where_trained(unknown)


def test_fidelity_is_printed_and_written_beside_each_sae(folders):
    toy = ("--benchmark", "toy", "--task", "suite:shared", "--seeds", 2, "--max-steps", 12)
    result = invoke("fidelity", *folders, *toy)
    assert result.exit_code == 0
    exact, lossy = (read_evaluation(f / "action_fidelity.json") for f in folders)
    assert exact.fidelity.value > 0.999
    assert lossy.fidelity.value < 0.3
    assert f"{folders[0]}: action fidelity 1.000 [" in result.stdout
    assert "(n = 6)" in result.stdout


@pytest.mark.slow
def test_success_is_printed_and_written_beside_each_sae(folders, tmp_path):
    toy = ("--benchmark", "toy", "--task", "suite:shared", "--seeds", "0-1", "--workers", 1)
    result = invoke("success", *folders, *toy, "--out", tmp_path / "run", "--quiet")
    assert result.exit_code == 0, result.stdout
    exact, lossy = (read_evaluation(f / "hooked_success.json") for f in folders)
    assert exact.arms[0].success.value == 1
    assert lossy.arms[0].success.value == 0
    assert "against unhooked: 1.000" in result.stdout
    assert "change -1.000" in result.stdout


def test_arms_have_names_of_their_own():
    paths = [Path("a/vlm.1.resid_post/topk"), Path("b/vlm.1.resid_post/topk"), Path("c")]
    assert arm_names(paths) == ["sae_vlm_1_resid_post_topk", "sae_vlm_1_resid_post_topk_2", "sae_c"]


def test_saes_of_several_or_unknown_policies_are_refused(folders, tmp_path):
    other = saved(tmp_path / "other", origin=ORIGIN.model_copy(update={"checkpoint": "else"}))
    unknown = saved(tmp_path / "unknown", origin=Provenance(hook_point=AT))
    for folder in (other, unknown):
        with pytest.raises(IncompatibleError, match="one known policy at a time"):
            invoke("fidelity", folders[0], folder, "--benchmark", "toy", "--task", "*")
