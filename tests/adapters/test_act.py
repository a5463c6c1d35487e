"""ACT through lerobot's class: parity, truth of the hook map, checkpoints good and bad."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from safetensors.torch import load_file, save_file

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope.hooks import BLOCK_SITES
from vlascope.noise import generator_for
from vlascope.recording import capture
from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.act import ACTAdapter, at_real_size


@pytest.fixture(scope="module")
def policy():
    return ACTAdapter.tiny(0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A checkpoint in the hub's layout with torchvision's real backbone, and its policy."""
    folder = tmp_path_factory.mktemp("act") / "act_metaworld_tiny"
    config = ACTConfig(
        **tiny.features(),
        device="cpu",
        pretrained_backbone_weights=None,
        dim_model=32,
        n_heads=4,
        dim_feedforward=64,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        chunk_size=6,
        n_action_steps=3,
    )
    with tiny.seeded(3):
        upstream = ACTPolicy(config).eval()
    upstream.save_pretrained(folder)
    for pipeline in make_act_pre_post_processors(config, tiny.statistics(3)):
        pipeline.save_pretrained(folder)
    return folder, upstream


@pytest.fixture
def copy(written, tmp_path):
    """The same checkpoint, to be spoilt."""
    return shutil.copytree(written[0], tmp_path / "act_metaworld_tiny")


def load(folder, **options):
    """At the camera size that the checkpoint was made for."""
    return ACTAdapter.from_pretrained(str(folder), robot=tiny.ROBOT, **options)


def test_actions_are_those_of_the_upstream_call(policy):
    seen = [policy.example_observation(seed) for seed in range(3)]
    upstream = policy.model.predict_action_chunk(policy.batch(seen))
    with policy.record("*"):
        ours = policy.infer(seen)
    wanted = torch.stack([policy.processors.after(row) for row in upstream])
    assert np.array_equal(ours.actions, wanted.numpy())


def test_branches_add_up_to_the_stream_that_the_norms_see(policy):
    seen = [policy.example_observation(seed) for seed in range(2)]
    with policy.record(["encoder.*", "decoder.*"]) as cache:
        policy.infer(seen)
    for pathway in ("encoder", "decoder"):
        for layer in range(policy.info.pathway(pathway).n_layers):
            block = policy.model.get_submodule(f"model.{pathway}.layers.{layer}")
            at = {site: cache.stack(f"{pathway}.{layer}.{site}") for site in BLOCK_SITES}
            if pathway == "encoder":
                mid = block.norm1(at["resid_pre"] + at["attn_out"])
                torch.testing.assert_close(at["resid_mid"], mid)
            post = getattr(block, "norm2" if pathway == "encoder" else "norm3")
            torch.testing.assert_close(at["resid_post"], post(at["resid_mid"] + at["mlp_out"]))
            torch.testing.assert_close(block.linear2(at["mlp_act"]), at["mlp_out"])


def test_the_encoder_starts_with_what_its_spans_say(policy):
    seen = [policy.example_observation(5)]
    with policy.record(["encoder.*", "vision.projector"]) as cache:
        policy.infer(seen)
    spans = policy.token_spans(seen)["encoder"][0]
    first = cache.stack("encoder.0.resid_pre")[0, 0]
    assert list(spans) == ["latent", "state", "image.corner2"]
    assert torch.equal(first[spans["image.corner2"]], cache.stack("vision.projector")[0, 0])
    assert torch.equal(first[spans["state"]], cache.stack("encoder.state_encoder")[0, 0])
    assert torch.equal(first[spans["latent"]], cache.stack("encoder.latent")[0, 0])


def test_gradients_are_those_of_a_small_change(policy):
    seen = [policy.example_observation(1)]
    point = policy.match("encoder.0.resid_post")[0]
    leaf = capture(policy, seen, str(point)).stack(str(point))[0].clone().requires_grad_()
    step = torch.randn(leaf.shape, generator=generator_for(2)) * 1e-3

    def actions(value):
        handles = policy.tap(point).attach(policy.model, lambda _: value)
        try:
            return policy.differentiable_actions(seen, generators=[generator_for(0)]).sum()
        finally:
            for handle in handles:
                handle.remove()

    (gradient,) = torch.autograd.grad(actions(leaf), leaf)
    with torch.no_grad():
        change = actions(leaf + step) - actions(leaf - step)
    torch.testing.assert_close(change / 2, (gradient * step).sum(), rtol=2e-2, atol=1e-5)


def test_a_checkpoint_in_the_hubs_layout_acts_as_the_policy_that_was_saved(written):
    folder, upstream = written
    ours = load(folder)
    assert ours.info.checkpoint_hash == load(folder).info.checkpoint_hash
    seen = [ours.example_observation(seed) for seed in range(2)]
    assert torch.equal(
        ours.model.predict_action_chunk(ours.batch(seen)),
        upstream.predict_action_chunk(ours.batch(seen)),
    )


def spoil(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors")


def test_missing_extra_and_reshaped_tensors_are_named(copy):
    def change(tensors):
        tensors["model.stranger"] = torch.zeros(2)
        tensors["model.action_head.bias"] = torch.zeros(9)
        return {k: v for k, v in tensors.items() if k != "model.action_head.weight"}

    spoil(copy, change)
    with pytest.raises(CorruptFile) as error:
        load(copy)
    for name in ("model.stranger", "action_head.bias is (9,)", "missing (model.action_head.weight"):
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
    (copy / "config.json").write_text(json.dumps({**config, "type": "diffusion"}))
    with pytest.raises(IncompatibleError, match="'diffusion' checkpoint, not 'act'"):
        load(copy)


def test_a_config_with_unknown_fields_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "novelty": 1}))
    with pytest.raises(CorruptFile, match="novelty"):
        load(copy)


def test_a_checkpoint_without_processor_files_gets_the_command_that_migrates_it(copy):
    (copy / "policy_preprocessor.json").unlink()
    with pytest.raises(FileMissing, match="migrate_policy_normalization --pretrained-path"):
        load(copy)


def test_a_wrong_observation_is_refused_before_the_network_runs(policy):
    good = policy.example_observation(0)
    blind = type(good)(good.instruction, {}, good.state)
    short = type(good)(good.instruction, good.images, {"proprio": np.zeros(3, np.float32)})
    ran = []
    handle = policy.model.register_forward_pre_hook(lambda *_: ran.append(1))
    with pytest.raises(ValueError, match="looks at 'corner2'"):
        policy.infer([blind])
    with pytest.raises(ValueError, match="needs state 'proprio'"):
        policy.infer([short])
    handle.remove()
    assert not ran


def test_the_real_size_is_the_published_one():
    """The paper's 80 M (arXiv:2304.13705, section 5) counts seven decoder layers.

    Upstream keeps the one that its code ever used.
    """
    model = at_real_size().model
    whole = sum(p.numel() for p in model.parameters())
    unused = 6 * sum(p.numel() for p in model.decoder.layers[0].parameters())
    assert whole + unused == pytest.approx(80e6, rel=0.06)
