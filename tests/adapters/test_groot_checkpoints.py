"""GR00T N1.7 checkpoints: lerobot's layout and NVIDIA's own, good and bad."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from lerobot.policies.groot.configuration_groot import GROOT_N1_7_BASE_MODEL, GrootConfig
from lerobot.policies.groot.groot_n1_7 import GR00TN17Config
from safetensors.torch import load_file, save_file

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope.noise import generator_for
from vlascope_adapters.lerobot import groot_built, groot_tiny, tiny
from vlascope_adapters.lerobot.groot import GrootAdapter


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint as lerobot writes it, its base's config inside, and the policy itself."""
    folder = tmp_path_factory.mktemp("groot") / "groot_metaworld"
    policy = GrootAdapter.tiny(0)
    policy.model.save_pretrained(folder)
    for pipeline in (policy.processors.before, policy.processors.after):
        pipeline.save_pretrained(folder)
    backbone = Path(groot_tiny.write_backbone(folder / "base"))
    groot_tiny.network("Qwen/Qwen3-VL-tiny").save_pretrained(folder / "base")
    for file in backbone.iterdir():
        if file.name != "config.json":
            shutil.copy(file, folder)
    return folder, policy


@pytest.fixture
def copy(saved, tmp_path):
    """The same checkpoint, to be spoilt."""
    return shutil.copytree(saved[0], tmp_path / "groot_metaworld")


def load(folder, **options):
    return GrootAdapter.from_pretrained(str(folder), **{"robot": tiny.ROBOT, **options})


def act(policy, seen):
    return policy.infer(seen, generators=[generator_for(0, i) for i, _ in enumerate(seen)]).actions


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_checkpoint_in_lerobots_layout_acts_as_the_policy_that_was_saved(saved):
    folder, before = saved
    after = load(folder)
    assert after.info.checkpoint_hash == before.info.checkpoint_hash
    seen = [before.example_observation(seed) for seed in range(3)]
    assert np.array_equal(act(after, seen), act(before, seen))


def test_in_bfloat16_it_acts_nearly_the_same(saved):
    folder, before = saved
    after = load(folder, dtype=torch.bfloat16)
    assert after.model._groot_model.dtype == torch.bfloat16
    rotary = after.model._groot_model.backbone.language_model.rotary_emb
    assert rotary.inv_freq.dtype == torch.float32
    seen = [before.example_observation(seed) for seed in range(2)]
    assert np.abs(act(after, seen) - act(before, seen)).mean() < 0.2


def test_the_base_model_may_be_said_instead_of_the_path_it_was_saved_with(copy, tmp_path):
    (copy / "base").rename(tmp_path / "elsewhere")
    rewrite(copy / "config.json", base_model_path="/cluster/job7/base")
    with pytest.raises(
        FileMissing, match=r"base_model_path '/cluster/job7/base'.*give base=FOLDER"
    ):
        load(copy)
    assert load(copy, base=str(tmp_path / "elsewhere")).info.horizon == 10
    rewrite(tmp_path / "elsewhere" / "config.json", architectures=[], model_type="qwen3_vl")
    with pytest.raises(IncompatibleError, match=r"no GR00T N1\.7 base model but 'qwen3_vl'"):
        load(copy, base=str(tmp_path / "elsewhere"))


def test_without_a_network_the_published_base_is_lerobots_own_copy(tmp_path, monkeypatch):
    def no_network(*_args):
        raise FileMissing("no network")

    monkeypatch.setattr(groot_built, "fetch", no_network)
    config = GrootConfig(device="cpu")
    assert config.base_model_path == GROOT_N1_7_BASE_MODEL
    found = groot_built.base_of(config, tmp_path, "fine-tune")
    assert found.to_dict() == GR00TN17Config().to_dict()
    config.base_model_path = "someone/else"
    with pytest.raises(FileMissing, match="no network"):
        groot_built.base_of(config, tmp_path, "fine-tune")


def test_missing_extra_and_reshaped_tensors_are_named(copy):
    tensors = load_file(copy / "model.safetensors")
    tensors["_groot_model.stranger"] = torch.zeros(2)
    tensors["_groot_model.action_head.vlln.bias"] = torch.zeros(9)
    del tensors["_groot_model.action_head.vlln.weight"]
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(CorruptFile) as error:
        load(copy)
    for name in ("_groot_model.stranger", "vlln.bias is (9,)", "1 missing (_groot_model.action"):
        assert name in str(error.value)


def test_a_truncated_file_is_refused(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match="truncated"):
        load(copy)


def test_weights_in_pickle_form_are_refused(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(FileMissing, match="pickle form only"):
        load(copy)


def test_other_architectures_are_named(copy):
    rewrite(copy / "config.json", type="smolvla")
    with pytest.raises(IncompatibleError, match="'smolvla' checkpoint, not 'groot'"):
        load(copy)
    rewrite(copy / "config.json", type="groot", tokenizer_assets_repo="lerobot/eagle2hg")
    with pytest.raises(IncompatibleError, match=r"GR00T N1\.5; use the adapter 'groot_n15'"):
        load(copy)


def test_missing_processor_files_get_the_command_that_migrates(copy):
    (copy / "policy_postprocessor.json").unlink()
    with pytest.raises(FileMissing, match="migrate_policy_normalization --pretrained-path"):
        load(copy)


def test_a_missing_tokenizer_is_told_with_what_to_do(copy, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(FileMissing, match=r"Cosmos-Reason2-2B.*tokenizer=FOLDER"):
        load(copy)
    backbone = groot_tiny.write_backbone(tmp_path)
    assert load(copy, tokenizer=backbone).info.horizon == 10
    Path(backbone).rename(copy / "vlm")
    assert load(copy).info.horizon == 10


def test_a_wrong_observation_is_refused_before_the_network_runs(saved):
    policy, ran = saved[1], []
    good = policy.example_observation(0)
    blind = type(good)(good.instruction, {}, good.state)
    short = type(good)(good.instruction, good.images, {"proprio": np.zeros(3, np.float32)})
    handle = policy.model._groot_model.backbone.register_forward_pre_hook(lambda *_: ran.append(1))
    with pytest.raises(ValueError, match="looks at 'corner2'"):
        policy.infer([blind])
    with pytest.raises(ValueError, match="needs state 'proprio'"):
        policy.infer([short])
    handle.remove()
    assert not ran


def test_an_embodiment_chooses_how_the_gripper_is_decoded(saved):
    assert not load(saved[0]).processors.after.steps[0].libero_gripper_action
    policy = load(saved[0], embodiment="libero_sim")
    assert policy.processors.after.steps[0].libero_gripper_action
