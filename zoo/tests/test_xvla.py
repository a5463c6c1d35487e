"""X-VLA in the zoo: built small, trained on clean actions, saved as the hub has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")
pytest.importorskip("vlascope_zoo")

from vlascope.types import Observation
from vlascope_adapters.lerobot.xvla import XVLAAdapter
from vlascope_adapters.robots import ROBOTS
from vlascope_zoo.architecture import architecture_of
from vlascope_zoo.recipe import load_recipe

ROBOT = ROBOTS["metaworld"].seen_at(96, render="fast")


@pytest.fixture(scope="module")
def built(statistics, tmp_path_factory):
    recipe = load_recipe("xvla")
    architecture = architecture_of(recipe)
    return architecture, architecture.build(recipe, statistics, tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def loaded(built, tmp_path_factory):
    architecture, policy = built
    folder = tmp_path_factory.mktemp("saved")
    architecture.save(policy, folder)
    return XVLAAdapter.from_pretrained(str(folder), robot=ROBOT)


def loss(architecture, policy, batch):
    torch.manual_seed(0)
    return architecture.loss(policy, batch, torch.Generator().manual_seed(0))


def observation(batch, row=0):
    return Observation(
        images={"corner2": batch.pictures[row].numpy()},
        state={"proprio": batch.state[row].numpy()},
        instruction=batch.instructions[row],
    )


def test_is_small(built):
    assert 0.8e6 < sum(p.numel() for p in built[1].parameters()) < 3e6


def test_where_no_action_exists_no_answer_is_wrong(built, batch):
    architecture, policy = built
    policy.requires_grad_(True)
    answers = []

    def keep(module, given, answer):
        answer.retain_grad()
        answers.append(answer)

    handle = policy.model.transformer.register_forward_hook(keep)
    loss(architecture, policy, batch).backward()
    handle.remove()
    policy.requires_grad_(False)
    asked = answers[0].grad.abs().sum(-1) > 0
    assert torch.equal(asked, batch.valid)


def test_a_few_steps_lower_the_loss(statistics, batch, tmp_path):
    recipe = load_recipe("xvla")
    architecture = architecture_of(recipe)
    policy = architecture.build(recipe, statistics, tmp_path)
    before = loss(architecture, policy, batch).item()
    optimizer = torch.optim.AdamW(policy.parameters(), 1e-3)
    for _ in range(8):
        optimizer.zero_grad()
        loss(architecture, policy, batch).backward()
        optimizer.step()
    assert loss(architecture, policy, batch).item() < 0.8 * before


def test_what_is_saved_loads_and_acts(loaded, batch):
    chunk = loaded.predict_chunk(
        [observation(batch)], generators=[torch.Generator().manual_seed(0)]
    )
    assert chunk.actions.shape == (1, 8, 4)
    assert np.isfinite(chunk.actions).all()
    assert loaded.info.notes == {"domain_id": "0"}  # every step is the checkpoint's own


def test_the_trunk_sees_all_there_is_in_order(loaded, batch):
    (spans,) = loaded.token_spans([observation(batch)])["trunk"]
    assert list(spans) == ["action", "image.corner2", "instruction", "padding", "soft_prompt"]
    assert spans["image.corner2"].stop - spans["image.corner2"].start == 37
