"""SmolVLA checkpoints in the hub's layout: good ones act as saved, bad ones say what is wrong."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from safetensors.torch import load_file, save_file

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope.noise import generator_for
from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.smolvla import SmolVLAAdapter
from vlascope_adapters.lerobot.smolvla_built import quietly, tiny_config, write_backbone

HEAD = "model.action_out_proj.weight"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A checkpoint as upstream saves it, its SmolVLM2 beside it, and its policy."""
    folder = tmp_path_factory.mktemp("smolvla") / "smolvla_metaworld_tiny"
    config = tiny_config(write_backbone(folder / "vlm"))
    with tiny.seeded(3), quietly():
        upstream = SmolVLAPolicy(config).eval()
    upstream.save_pretrained(folder)
    for pipeline in make_smolvla_pre_post_processors(config, tiny.statistics(3)):
        pipeline.save_pretrained(folder)
    return folder, upstream


@pytest.fixture
def copy(written, tmp_path):
    """The same checkpoint, to be spoilt; what its files name is elsewhere and gone."""
    folder = shutil.copytree(written[0], tmp_path / "smolvla_metaworld_tiny")
    for name in ("config.json", "policy_preprocessor.json"):
        text = (folder / name).read_text().replace(str(written[0] / "vlm"), "/gone/SmolVLM2")
        (folder / name).write_text(text)
    return folder


def load(folder, **options):
    """At the camera size that the checkpoint was made for."""
    return SmolVLAAdapter.from_pretrained(str(folder), robot=tiny.ROBOT, **options)


def spoil(folder, change):
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")


def test_it_acts_as_the_policy_that_was_saved(copy, written, capsys):
    ours, upstream = load(copy), written[1]
    assert ours.info.checkpoint_hash == load(copy).info.checkpoint_hash
    seen = [ours.example_observation(seed) for seed in range(2)]
    batch, noise = ours.batch(seen), ours.noise([generator_for(i) for i in range(2)])
    assert torch.equal(
        ours.model.predict_action_chunk(batch, noise=noise),
        upstream.predict_action_chunk(batch, noise=noise),
    )
    for name, tensor in upstream.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], tensor)
    assert capsys.readouterr().out == ""


def test_in_bfloat16_the_projections_around_the_stacks_stay_float32(copy):
    full, half = load(copy), load(copy, dtype=torch.bfloat16)
    weights = half.model.state_dict()
    assert weights[HEAD].dtype == torch.float32
    assert torch.equal(weights[HEAD], full.model.state_dict()[HEAD])
    assert half.model.model.vlm_with_expert.lm_expert.norm.weight.dtype == torch.bfloat16
    seen = [full.example_observation(seed) for seed in range(2)]
    with half.record("*"):
        coarse = half.infer(seen).actions
    np.testing.assert_allclose(coarse, full.infer(seen).actions, atol=0.1)
    with half.intervene(*identities()):
        np.testing.assert_allclose(half.infer(seen).actions, coarse, atol=0.05)


def identities():
    from vlascope.interventions import Identity

    return [Identity(at=("*",))]


def test_the_expert_is_not_rounded_where_the_backbone_says_bfloat16(copy):
    config = json.loads((copy / "vlm" / "config.json").read_text())
    config["dtype"] = config["text_config"]["dtype"] = "bfloat16"
    (copy / "vlm" / "config.json").write_text(json.dumps(config))
    saved = load_file(copy / "model.safetensors")
    name = "model.vlm_with_expert.lm_expert.layers.0.mlp.down_proj.weight"
    assert torch.equal(load(copy).model.state_dict()[name], saved[name])


def test_the_backbone_may_lie_elsewhere(copy, tmp_path):
    elsewhere = shutil.move(copy / "vlm", tmp_path / "SmolVLM2")
    assert load(copy, tokenizer=str(elsewhere)).info.horizon == 10


def test_a_missing_backbone_is_told_with_what_to_do(copy):
    shutil.rmtree(copy / "vlm")
    with pytest.raises(FileMissing, match=r"/gone/SmolVLM2.*tokenizer=FOLDER"):
        load(copy)


def test_a_backbone_without_tokenizer_or_processor_is_told(copy, tmp_path):
    for lost in ("tokenizer.json", "processor_config.json", "config.json"):
        folder = shutil.copytree(copy, tmp_path / lost)
        (folder / "vlm" / lost).unlink()
        with pytest.raises(FileMissing, match="vlm"):
            load(folder)


def test_missing_extra_and_reshaped_tensors_are_named(copy):
    def change(tensors):
        tensors["model.stranger"] = torch.zeros(2)
        tensors["model.state_proj.bias"] = torch.zeros(9)
        return {k: v for k, v in tensors.items() if k != HEAD}

    spoil(copy, change)
    with pytest.raises(CorruptFile) as error:
        load(copy)
    for said in ("model.stranger", "state_proj.bias is (9,)", f"missing ({HEAD}"):
        assert said in str(error.value)


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
    (copy / "config.json").write_text(json.dumps({**config, "type": "pi0"}))
    with pytest.raises(IncompatibleError, match="'pi0' checkpoint, not 'smolvla'"):
        load(copy)


def test_a_checkpoint_without_processor_files_gets_the_command_that_migrates_it(copy):
    (copy / "policy_preprocessor.json").unlink()
    spoil(copy, lambda tensors: {**tensors, "normalize_inputs.buffer": torch.zeros(1)})
    with pytest.raises(FileMissing, match="migrate_policy_normalization --pretrained-path"):
        load(copy)


def test_a_wrong_observation_is_refused_before_the_network_runs(copy):
    policy = load(copy)
    good = policy.example_observation(0)
    blind = type(good)(good.instruction, {}, good.state)
    short = type(good)(good.instruction, good.images, {"proprio": np.zeros(3, np.float32)})
    ran = []
    policy.model.model.state_proj.register_forward_pre_hook(lambda *_: ran.append(1))
    with pytest.raises(ValueError, match="looks at 'corner2'"):
        policy.infer([blind])
    with pytest.raises(ValueError, match="needs state 'proprio'"):
        policy.infer([short])
    assert not ran
