"""pi0 and pi0.5 in the zoo: built small, trained by flow matching, saved as the hub has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")
pytest.importorskip("vlascope_zoo")

from vlascope.types import Observation
from vlascope_adapters.lerobot.pi import Pi0Adapter, Pi05Adapter
from vlascope_adapters.robots import ROBOTS
from vlascope_zoo.architecture import architecture_of
from vlascope_zoo.recipe import load_recipe

ROBOT = ROBOTS["metaworld"].seen_at(96, render="fast")
ADAPTERS = {"pi0": Pi0Adapter, "pi05": Pi05Adapter}


@pytest.fixture(scope="module", params=list(ADAPTERS))
def built(request, statistics, tmp_path_factory):
    recipe = load_recipe(request.param)
    architecture = architecture_of(recipe)
    policy = architecture.build(recipe, statistics, tmp_path_factory.mktemp("policy"))
    return architecture, policy, ADAPTERS[request.param]


@pytest.fixture(scope="module")
def loaded(built, tmp_path_factory):
    architecture, policy, adapter = built
    folder = tmp_path_factory.mktemp("saved")
    architecture.save(policy, folder)
    return adapter.from_pretrained(str(folder), robot=ROBOT)


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
    _, policy, _ = built
    assert 0.8e6 < sum(p.numel() for p in policy.parameters()) < 3e6


def test_actions_that_do_not_exist_do_not_count(built, batch):
    architecture, policy, _ = built
    policy.requires_grad_(True)
    answers = []

    def keep(module, given, answer):
        answer.retain_grad()
        answers.append(answer)

    handle = policy.model.action_out_proj.register_forward_hook(keep)
    loss(architecture, policy, batch).backward()
    handle.remove()
    policy.requires_grad_(False)
    asked = answers[0].grad.abs().sum(-1) > 0
    assert torch.equal(asked, batch.valid)


def test_a_few_steps_lower_the_loss(statistics, batch, tmp_path):
    recipe = load_recipe("pi0")
    architecture = architecture_of(recipe)
    policy = architecture.build(recipe, statistics, tmp_path)
    before = loss(architecture, policy, batch).item()
    optimizer = torch.optim.AdamW(policy.parameters(), 1e-3)
    for _ in range(8):
        optimizer.zero_grad()
        loss(architecture, policy, batch).backward()
        optimizer.step()
    assert loss(architecture, policy, batch).item() < 0.8 * before


def test_everything_that_reaches_the_action_is_trained(built, batch):
    architecture, policy, _ = built
    policy.requires_grad_(True).zero_grad()
    loss(architecture, policy, batch).backward()
    still = {name for name, p in policy.named_parameters() if p.grad is None or not p.grad.any()}
    policy.requires_grad_(False)
    last = policy.model.paligemma_with_expert.paligemma.config.text_config.num_hidden_layers - 1
    dead = ("lm_head", f"language_model.layers.{last}.", "language_model.norm", "expert.model.norm")
    assert not {name for name in still if not any(part in name for part in dead)}


def test_what_is_saved_loads_and_acts(built, loaded, batch):
    chunk = loaded.predict_chunk(
        [observation(batch)], generators=[torch.Generator().manual_seed(0)]
    )
    assert chunk.actions.shape == (1, 8, 4)
    assert np.isfinite(chunk.actions).all()
    assert loaded.info.executed_steps == 6


def test_instruction_and_state_are_where_the_spans_say(loaded, batch):
    (spans,) = loaded.token_spans([observation(batch)])["vlm"]
    assert spans["instruction"].stop - spans["instruction"].start == 3
    if "state" in spans:
        assert spans["state"].stop - spans["state"].start == 4


def test_numbers_next_to_each_other_begin_alike(statistics, tmp_path):
    recipe = load_recipe("pi05")
    architecture = architecture_of(recipe)
    policy = architecture.build(recipe, statistics, tmp_path)
    ids = architecture.tokenizer.convert_tokens_to_ids([" 127", " 128", " 250"])
    words = policy.model.paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight
    near, far = torch.nn.functional.cosine_similarity(words[ids[:1]], words[ids[1:]])
    assert near > 0.9 > far
