"""OpenVLA-OFT in the zoo: built small, trained by L1, saved as the hub has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("vlascope_zoo")

from vlascope_adapters.openvla.oft_adapter import OpenVLAOFTAdapter
from vlascope_adapters.openvla.preparation import middle, through_jpeg
from vlascope_adapters.robots import ROBOTS
from vlascope_zoo.architectures.oft import OFT
from vlascope_zoo.architectures.prismatic import cropped
from vlascope_zoo.recipe import load_recipe

ROBOT = ROBOTS["metaworld"].seen_at(96, render="fast")
SMALL = {
    "vision_width": 32, "vision_layers": 2, "vision_heads": 2,
    "width": 32, "layers": 2, "heads": 2, "neurons": 48,
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("openvla_oft").model_copy(update={"sizes": SMALL})


@pytest.fixture
def built(recipe, statistics, tmp_path):
    architecture = OFT()
    return architecture, architecture.build(recipe, statistics, tmp_path)


def loss(architecture, policy, batch, seed=0):
    return architecture.loss(policy, batch, torch.Generator().manual_seed(seed))


def test_the_recipe_of_the_zoo_stays_within_three_million_parameters(statistics, tmp_path):
    policy = OFT().build(load_recipe("openvla_oft"), statistics, tmp_path)
    assert 0.8e6 < sum(p.numel() for p in policy.parameters()) < 3e6


def test_a_seed_decides_the_weights(recipe, statistics, tmp_path):
    one, same, other = (
        OFT().build(recipe.model_copy(update={"seed": seed}), statistics, tmp_path).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(tensor, same[name]) for name, tensor in one.items())
    name = "language_model.model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(one[name], other[name])


def test_the_loss_is_the_distance_to_the_scaled_chunk(built, batch):
    architecture, policy = built
    perfect = replace(batch, actions=torch.zeros_like(batch.actions))
    policy.action_head.model.fc2.requires_grad_(False).weight.zero_()
    policy.action_head.model.fc2.bias.zero_()
    assert loss(architecture, policy, perfect) == pytest.approx(0, abs=1e-6)
    shown = batch.actions[batch.valid].abs().mean()
    assert loss(architecture, policy, batch) == pytest.approx(shown.item(), rel=1e-5)


def test_what_lies_past_the_end_of_a_demonstration_does_not_count(built, batch):
    architecture, policy = built
    actions = torch.where(batch.valid[:, :, None], batch.actions, 5.0)
    changed = replace(batch, actions=actions)
    assert torch.equal(loss(architecture, policy, changed), loss(architecture, policy, batch))


def test_every_weight_that_decides_an_action_learns(built, batch):
    architecture, policy = built
    policy.requires_grad_(True)
    loss(architecture, policy, batch).backward()
    idle = {name for name, p in policy.named_parameters() if p.grad is None}
    last = "blocks.1."
    expected = ("lm_head", last, "attn_pool", "featurizer.norm", "featurizer.fc_norm")
    assert idle
    assert all(any(part in name for part in expected) for name in idle), idle


def test_training_attends_as_the_fused_kernel_does(built, batch):
    architecture, policy = built
    plain = loss(architecture, policy, batch)
    policy.language_model.config._attn_implementation = "sdpa"
    for tower in policy.vision_backbone.towers.values():
        for block in tower.blocks:
            block.attn.fused_attn = True
    assert loss(architecture, policy, batch) == pytest.approx(plain.item(), rel=1e-5)


def test_the_middle_cut_out_is_what_the_policy_looks_at(statistics):
    picture = through_jpeg(statistics.pixels[0].numpy())
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    cut = cropped(pixels, torch.full((1, 2), 0.5))[0].permute(1, 2, 0)
    assert np.abs(255 * cut.numpy() - middle(picture)).max() <= 1
    corner = cropped(pixels, torch.zeros(1, 2))
    assert torch.allclose(corner[..., 0, 0], pixels[..., 0, 0])


def test_what_is_saved_loads_as_the_policy_that_was_trained(built, recipe, batch, tmp_path):
    architecture, policy = built
    before = loss(architecture, policy, batch)
    architecture.save(policy, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"config.json", "model.safetensors", "dataset_statistics.json"} <= names
    steps = recipe.schedule.steps
    parts = ("action_head", "proprio_projector")
    assert {f"{part}--{steps}_checkpoint.pt" for part in parts} <= names
    loaded = OpenVLAOFTAdapter.from_pretrained(str(tmp_path), robot=ROBOT)
    assert loss(architecture, policy, batch) == pytest.approx(before.item(), abs=2e-3)
    assert all(
        torch.equal(tensor, policy.state_dict()[name])
        for name, tensor in loaded.model.state_dict().items()
    )
    seen = [loaded.example_observation(seed) for seed in range(2)]
    assert loaded.infer(seen).actions.shape == (2, 8, 4)
    assert loaded.info.notes["center_crop"] == "True"
