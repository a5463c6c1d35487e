"""GR00T N1.7 in the zoo: upstream's class at small width, trained by its own loss."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")
pytest.importorskip("vlascope_zoo")

from vlascope.noise import generator_for
from vlascope_adapters.lerobot.groot import GrootAdapter
from vlascope_adapters.robots import ROBOTS
from vlascope_zoo.architectures.groot import GR00T
from vlascope_zoo.features import lerobot_batch
from vlascope_zoo.recipe import load_recipe

ROBOT = ROBOTS["metaworld"].seen_at(96, render="fast")
SMALL = {
    "patch": 24, "vision_width": 32, "vision_layers": 2, "vision_heads": 2, "vision_neurons": 32,
    "mergers": [0], "width": 48, "layers": 2, "heads": 2, "key_heads": 1, "neurons": 48,
    "stack_layers": 1, "expert_width": 32, "expert_heads": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("groot").model_copy(update={"sizes": SMALL})


@pytest.fixture(scope="module")
def built(recipe, statistics, tmp_path_factory):
    architecture = GR00T()
    policy = architecture.build(recipe, statistics, tmp_path_factory.mktemp("groot"))
    return architecture, policy.eval()


def loss(built, batch):
    architecture, policy = built
    torch.manual_seed(0)
    return architecture.loss(policy, batch, torch.Generator().manual_seed(0))


def test_the_recipe_of_the_zoo_stays_within_three_million_parameters(statistics, tmp_path):
    policy = GR00T().build(load_recipe("groot"), statistics, tmp_path)
    assert 0.8e6 < sum(p.numel() for p in policy.parameters()) < 3e6


def test_it_is_put_to_the_network_as_upstreams_pipeline_does(built, batch):
    architecture, _ = built
    mine = architecture._inputs(batch, torch.full((3, 2), 0.5))
    theirs = architecture._processors.before(lerobot_batch(batch))
    for name, tensor in mine.items():
        assert torch.allclose(tensor.float(), theirs[name].float(), atol=1e-6), name


def test_with_one_noise_the_loss_is_upstreams(built, batch, monkeypatch):
    architecture, policy = built
    monkeypatch.setattr(
        architecture, "_sizes", architecture._sizes.model_copy(update={"flow_samples": 1})
    )
    alone = replace(
        batch,
        **{name: getattr(batch, name)[:1] for name in ("pictures", "state", "actions", "valid")},
        instructions=batch.instructions[:1],
    )
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 0.5))
    mine = loss((architecture, policy), alone)
    ready = architecture._processors.before(lerobot_batch(alone))
    torch.manual_seed(0)
    theirs, _ = policy.forward(ready)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-4)


def test_what_lies_past_the_end_of_a_demonstration_does_not_count(built, batch):
    actions = torch.where(batch.valid[:, :, None], batch.actions, 0.7)
    assert torch.allclose(loss(built, replace(batch, actions=actions)), loss(built, batch))


def test_every_weight_that_decides_an_action_learns(built, batch):
    _, policy = built
    policy.requires_grad_(True)
    loss(built, batch).backward()
    idle = {name for name, p in policy.named_parameters() if p.grad is None}
    policy.zero_grad()
    assert all("language_model.norm" in name for name in idle), idle


def test_what_is_saved_loads_wherever_it_is_moved(built, tmp_path):
    architecture, policy = built
    architecture.save(policy, tmp_path / "here")
    there = tmp_path / "there"
    shutil.move(tmp_path / "here", there)
    loaded = GrootAdapter.from_pretrained(str(there), robot=ROBOT)
    weights = policy.state_dict()
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, weights[name].half().float()), name
    assert (loaded.info.horizon, loaded.info.executed_steps) == (6, 6)
    seen = [replace(loaded.example_observation(0), instruction=text) for text in ("push", "")]
    generators = [generator_for(0, row) for row in range(2)]
    assert np.isfinite(loaded.infer(seen, generators=generators).actions).all()
    spans = loaded.token_spans(seen)["vlm"][0]
    assert spans["image.corner2"].stop - spans["image.corner2"].start == 4
