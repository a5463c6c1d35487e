"""OpenVLA in the zoo: built small, trained to say action tokens, saved as the hub has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

pytest.importorskip("timm")
pytest.importorskip("vlascope_zoo")

from vlascope.types import Observation
from vlascope_adapters.openvla.adapter import OpenVLAAdapter
from vlascope_adapters.openvla.decoding import detokenised
from vlascope_zoo.architectures import prismatic
from vlascope_zoo.architectures.openvla import OpenVLA, tokens_of
from vlascope_zoo.architectures.prismatic import ROBOT
from vlascope_zoo.recipe import load_recipe, recipe_names

SMALL = {
    "vision_width": 32, "vision_layers": 2, "vision_heads": 2,
    "width": 32, "layers": 2, "heads": 2, "neurons": 48,
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("openvla").model_copy(update={"sizes": SMALL})


@pytest.fixture
def built(recipe, statistics, tmp_path):
    architecture = OpenVLA()
    return architecture, architecture.build(recipe, statistics, tmp_path)


def loss(architecture, policy, batch, seed=0):
    return architecture.loss(policy, batch, torch.Generator().manual_seed(seed))


def upstream_tokens(action, end):
    """`ActionTokenizer.__call__` of the published code, ids instead of words."""
    return end - np.digitize(np.clip(action, -1, 1), np.linspace(-1, 1, 256))


def observation(picture, instruction):
    state = {name: np.zeros(spec.dim, np.float32) for name, spec in ROBOT.state.items()}
    return Observation(images={"corner2": picture}, state=state, instruction=instruction)


def test_the_recipe_is_listed_and_says_one_action_a_look():
    assert "openvla" in recipe_names()
    recipe = load_recipe("openvla")
    assert (recipe.horizon, recipe.executed) == (1, 1)


def test_the_recipe_of_the_zoo_stays_within_three_million_parameters(statistics, tmp_path):
    policy = OpenVLA().build(load_recipe("openvla"), statistics, tmp_path)
    assert 0.8e6 < sum(p.numel() for p in policy.parameters()) < 3e6


def test_chunks_are_refused(recipe, statistics, tmp_path):
    with pytest.raises(ValueError, match="horizon 1, not 8"):
        OpenVLA().build(recipe.model_copy(update={"horizon": 8}), statistics, tmp_path)


def test_actions_become_the_tokens_of_the_published_code():
    actions = np.concatenate([np.linspace(-1, 1, 1001), np.linspace(-1, 1, 256)])
    found = tokens_of(torch.from_numpy(actions), 32000, 256)
    assert np.array_equal(found.numpy(), upstream_tokens(actions, 32000))
    said = detokenised(found, 32000, 256).numpy()
    assert np.abs(said - actions).max() <= 1 / 255 + 1e-9


def test_the_loss_is_the_mean_cross_entropy_of_the_tokens_said_one_by_one(built, batch):
    architecture, policy = built
    release = architecture._adapter.release
    end, stop = release.architecture.first_free_id, release.prompter.stop
    pictures = prismatic.seen(release, batch.pictures, torch.Generator().manual_seed(0))
    missed = []
    for row, instruction in enumerate(batch.instructions):
        tokens = [*upstream_tokens(batch.actions[row, 0].numpy(), end).tolist(), stop]
        prompt = torch.tensor(release.prompter(instruction).ids)
        image = policy.seen([pictures[row : row + 1]])[0]
        for said in range(len(tokens)):
            words = policy.embedded([torch.cat([prompt, torch.tensor(tokens[:said]).long()])])[0]
            sequence = torch.cat([words[:1], image, words[1:]])[None]
            scores = policy.language_model(inputs_embeds=sequence, use_cache=False).logits[0, -1]
            missed.append(functional.cross_entropy(scores[None], torch.tensor(tokens[said])[None]))
    assert loss(architecture, policy, batch).item() == pytest.approx(
        torch.stack(missed).mean().item(), rel=1e-5
    )


def test_only_the_action_of_the_next_step_counts(built, batch):
    architecture, policy = built
    later = torch.where(torch.arange(8)[:, None] > 0, -batch.actions, batch.actions)
    assert torch.equal(
        loss(architecture, policy, replace(batch, actions=later)),
        loss(architecture, policy, batch),
    )


def test_every_weight_that_decides_an_action_learns(built, batch):
    architecture, policy = built
    policy.requires_grad_(True)
    loss(architecture, policy, batch).backward()
    idle = {name for name, p in policy.named_parameters() if p.grad is None}
    expected = ("blocks.1.", "attn_pool", "featurizer.norm", "featurizer.fc_norm")
    assert all(any(part in name for part in expected) for name in idle), idle


def test_a_few_steps_on_one_batch_teach_it_to_say_the_actions_shown(built, batch):
    architecture, policy = built
    policy.requires_grad_(True)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss(architecture, policy, batch).backward()
        optimizer.step()
    policy.requires_grad_(False)
    seen = [
        observation(picture.numpy(), instruction)
        for picture, instruction in zip(batch.pictures, batch.instructions, strict=True)
    ]
    said = architecture._adapter.infer(seen).actions[:, 0]
    assert np.abs(said - batch.actions[:, 0].numpy()).max() <= 2 / 255


def test_what_is_saved_says_the_same_actions_when_loaded(built, batch, tmp_path):
    architecture, policy = built
    architecture.save(policy, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"config.json", "model.safetensors", "dataset_statistics.json"} <= names
    loaded = OpenVLAAdapter.from_pretrained(str(tmp_path), robot=ROBOT)
    seen = [observation(picture.numpy(), "open the drawer") for picture in batch.pictures]
    said = loaded.infer(seen).actions
    assert said.shape == (3, 1, 4)
    assert np.array_equal(said, architecture._adapter.infer(seen).actions)
    assert (loaded.info.horizon, loaded.info.executed_steps) == (1, 1)
    assert loaded.info.notes["center_crop"] == "True"
