"""X-VLA's checkpoints: the hub's layout, an older one, empty cameras, bad files, size."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")
pytest.importorskip("transformers")

from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from safetensors.torch import load_file, save_file

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.xvla import XVLAAdapter
from vlascope_adapters.lerobot.xvla_built import at_real_size, tiny_tokenizer


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A checkpoint in the hub's layout, and the policy that it holds."""
    folder = tmp_path_factory.mktemp("xvla") / "xvla_tiny"
    policy = XVLAAdapter.tiny(4)
    policy.model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    policy.processors.before.save_pretrained(folder)
    policy.processors.after.save_pretrained(folder)
    return folder, policy


@pytest.fixture
def copy(written, tmp_path):
    """The same checkpoint, to be spoilt."""
    return shutil.copytree(written[0], tmp_path / "xvla_tiny")


def load(folder, **options):
    """At the camera size that the checkpoint was made for."""
    return XVLAAdapter.from_pretrained(str(folder), robot=tiny.ROBOT, **options)


def spoil(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors")


def test_a_checkpoint_in_the_hubs_layout_acts_as_the_policy_that_was_saved(written):
    folder, saved = written
    ours = load(folder)
    assert ours.info.checkpoint_hash == saved.info.checkpoint_hash
    seen = [ours.example_observation(seed) for seed in range(2)]
    assert np.array_equal(ours.infer(seen).actions, saved.infer(seen).actions)


def test_the_number_of_views_survives_saving_and_loading(written, tmp_path):
    folder, saved = written
    assert saved.config.num_image_views == 2
    seen = [saved.example_observation(0)]
    ours = saved
    for step in range(2):
        again = shutil.copytree(folder, tmp_path / f"again{step}")
        ours.model.save_pretrained(again)
        ours = load(again)
        assert ours.config.num_image_views == 2
        assert np.array_equal(ours.infer(seen).actions, saved.infer(seen).actions)
    adds_one = XVLAPolicy.from_pretrained(str(folder))
    assert adds_one.config.num_image_views == 3, "fixed upstream: drop XVLAAdapter._building"


def test_the_old_layout_of_florence_is_renamed_as_upstream_does(written, copy):
    rules = (
        (r"(convs\.\d+)\.conv\.", r"\1.proj."),
        (r"\.(conv[12])\.(weight|bias)", r".\1.fn.dw.\2"),
        (r"(spatial_block)\.norm1\.", r"\1.window_attn.norm."),
        (r"(channel_block)\.norm1\.", r"\1.channel_attn.norm."),
        (r"_block\.(window_attn|channel_attn)\.(qkv|proj)", r"_block.\1.fn.\2"),
        (r"_block\.ffn\.fc", r"_block.ffn.fn.net.fc"),
        (r"_block\.norm2\.", r"_block.ffn.norm."),
        (r"image_position_embed", "image_pos_embed"),
        (r"multi_modal_projector\.", ""),
        (r"vlm\.language_model\.", "vlm.language_model.model."),
    )

    def old(name):
        if ".vlm." in name:
            for pattern, replacement in rules:
                name = re.sub(pattern, replacement, name)
        return name

    def change(tensors):
        renamed = {old(name): tensor for name, tensor in tensors.items()}
        projection = renamed.pop("model.vlm.image_projection.weight")
        renamed["model.vlm.image_projection"] = projection.T.contiguous()
        renamed["model.vlm.language_model.final_logits_bias"] = torch.zeros(1, 384)
        return renamed

    spoil(copy, change)
    assert "model.vlm.vision_tower.convs.0.proj.weight" in load_file(copy / "model.safetensors")
    ours = load(copy)
    assert ours.info.checkpoint_hash == written[1].info.checkpoint_hash


def test_missing_extra_and_reshaped_tensors_are_named(copy):
    def change(tensors):
        tensors["model.stranger"] = torch.zeros(2)
        tensors["model.transformer.norm.bias"] = torch.zeros(9)
        return {k: v for k, v in tensors.items() if k != "model.transformer.pos_emb"}

    spoil(copy, change)
    with pytest.raises(CorruptFile) as error:
        load(copy)
    for name in ("model.stranger", "norm.bias is (9,)", "missing (model.transformer.pos_emb"):
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


def test_another_architecture_is_named(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "type": "act"}))
    with pytest.raises(IncompatibleError, match="'act' checkpoint, not 'xvla'"):
        load(copy)


def test_a_checkpoint_without_processor_files_gets_the_command_that_migrates_it(copy):
    (copy / "policy_postprocessor.json").unlink()
    with pytest.raises(FileMissing, match="migrate_policy_normalization --pretrained-path"):
        load(copy)


def test_a_missing_tokenizer_is_named_and_can_be_given(copy, written):
    (copy / "tokenizer.json").unlink()
    saved = json.loads((copy / "policy_preprocessor.json").read_text())
    for step in saved["steps"]:
        if step["registry_name"] == "tokenizer_processor":
            step["config"]["tokenizer_name"] = "/nowhere/bart-large"
    (copy / "policy_preprocessor.json").write_text(json.dumps(saved))
    with pytest.raises(FileMissing, match=r"tokenizer '/nowhere/bart-large'.*tokenizer=FOLDER"):
        load(copy)
    assert load(copy, tokenizer=str(written[0])).domain_id == 0


def test_the_real_size_is_the_published_one():
    """0.9 B parameters: arXiv:2510.10274 and lerobot's documentation of `lerobot/xvla-base`."""
    model = at_real_size().model
    sizes = {
        "vision": (model.vlm.vision_tower, model.vlm.multi_modal_projector),
        "vlm": (model.vlm.language_model,),
        "trunk": (model.transformer,),
    }
    counted = {n: sum(p.numel() for m in ms for p in m.parameters()) for n, ms in sizes.items()}
    assert counted == {"vision": 362_833_920, "vlm": 207_873_024, "trunk": 308_775_512}
    whole = sum(p.numel() for p in model.parameters())
    assert whole == sum(counted.values())
    assert whole == pytest.approx(0.9e9, rel=0.03)
