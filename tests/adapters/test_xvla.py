"""X-VLA through lerobot's class: parity, truth of the hook map, spans, noise, attention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")
pytest.importorskip("transformers")

from lerobot.policies.xvla import modeling_xvla

from vlascope.hooks import BLOCK_SITES
from vlascope.interventions import Intervention
from vlascope.noise import generator_for
from vlascope_adapters.lerobot.xvla import XVLAAdapter


@pytest.fixture(scope="module")
def policy():
    return XVLAAdapter.tiny(0)


def rows(policy, n):
    texts = ("push", "open the drawer", "pick up the red block")
    return [replace(policy.example_observation(seed), instruction=texts[seed]) for seed in range(n)]


def draw(n, start=0):
    return [generator_for(start + i) for i in range(n)]


def test_actions_are_those_of_the_upstream_call_from_equal_noise(policy, monkeypatch):
    seen, batch = rows(policy, 3), policy.batch(rows(policy, 3))
    torch.manual_seed(7)
    upstream = policy.model.predict_action_chunk(batch)
    torch.manual_seed(7)
    noise = torch.randn(3, 10, 20)
    monkeypatch.setattr(policy, "noise", lambda _: noise)
    wanted = torch.stack([policy.processors.after(row) for row in upstream]).numpy()
    assert np.array_equal(policy.infer(seen).actions, wanted)
    with policy.record("*"):
        recorded = policy.infer(seen)
    assert np.array_equal(recorded.actions, wanted)
    monkeypatch.undo()
    other = policy.infer(seen, generators=draw(3)).actions
    assert not np.array_equal(other, wanted)


def test_every_row_draws_from_its_own_generator(policy):
    seen = [policy.example_observation(0)] * 3
    first = policy.infer(seen, generators=draw(3)).actions
    swapped = policy.infer(seen, generators=draw(3)[::-1]).actions
    np.testing.assert_allclose(swapped[::-1], first, atol=1e-5)
    assert np.abs(first[0] - first[1]).max() > 1e-3


class Stumble(Intervention):
    """An edit that fails."""

    kind = "_stumble"

    def edit(self, activation, firing):
        raise ZeroDivisionError


def test_upstream_has_torch_back_also_after_an_exception(policy):
    with pytest.raises(ZeroDivisionError), policy.intervene(Stumble(at=("trunk.0.attn_out",))):
        policy.infer(rows(policy, 1))
    assert modeling_xvla.torch is torch


def test_a_sampler_that_draws_otherwise_is_noticed(policy, monkeypatch):
    monkeypatch.setattr(policy, "noise", lambda _: torch.zeros(1, 3, 20))
    with pytest.raises(RuntimeError, match="samples in another way"):
        policy.infer(rows(policy, 1))
    assert modeling_xvla.torch is torch


def test_three_rows_act_as_three_batches_of_one(policy):
    seen = rows(policy, 3)
    assert len({spans["instruction"].stop for spans in policy.token_spans(seen)["vlm"]}) == 3
    together = policy.infer(seen, generators=draw(3)).actions
    for i, row in enumerate(seen):
        alone = policy.infer([row], generators=draw(1, i)).actions[0]
        np.testing.assert_allclose(together[i], alone, atol=1e-5)


@pytest.fixture(scope="module")
def recorded(policy):
    with policy.record("*") as cache:
        policy.infer(rows(policy, 2))
    return cache


def sites(cache, layer):
    return {site: cache.stack(f"{layer}.{site}") for site in BLOCK_SITES}


def test_branches_of_the_trunk_add_up_to_its_stream(policy, recorded):
    for layer in range(policy.config.depth):
        at = sites(recorded, f"trunk.{layer}")
        torch.testing.assert_close(
            at["resid_mid"] - at["resid_pre"], at["attn_out"], atol=2e-6, rtol=0
        )
        torch.testing.assert_close(
            at["resid_post"] - at["resid_mid"], at["mlp_out"], atol=2e-6, rtol=0
        )
        block = policy.model.model.transformer.blocks[layer]
        torch.testing.assert_close(block.mlp.fc2(at["mlp_act"]), at["mlp_out"])


def test_branches_of_the_vlm_add_up_to_what_its_norms_see(policy, recorded):
    for layer, block in enumerate(policy.model.model.vlm.language_model.encoder.layers):
        at = sites(recorded, f"vlm.{layer}")
        mid = block.self_attn_layer_norm(at["resid_pre"] + at["attn_out"])
        torch.testing.assert_close(at["resid_mid"], mid)
        post = block.final_layer_norm(at["resid_mid"] + at["mlp_out"])
        torch.testing.assert_close(at["resid_post"], post)
        torch.testing.assert_close(
            at["mlp_act"] @ policy.value_vectors(layer) + block.fc2.bias, at["mlp_out"]
        )


def test_branches_of_vision_add_up_around_its_convolutions(policy, recorded):
    tower = policy.model.model.vlm.vision_tower
    halves = [half for (pair,) in tower.blocks for half in pair.children()]
    for layer, half in enumerate(halves):
        at = sites(recorded, f"vision.{layer}")
        pre, mid = at["resid_pre"], at["resid_mid"]
        torch.testing.assert_close(mid, pre + convolved(half.conv1, pre) + at["attn_out"])
        post = mid + convolved(half.conv2, mid) + at["mlp_out"]
        torch.testing.assert_close(at["resid_post"], post)
        torch.testing.assert_close(half.ffn.fc2(at["mlp_act"]), at["mlp_out"])


def convolved(convolution, tokens):
    """A convolution over square maps given as (calls, rows, tokens, width)."""
    side = round(tokens.shape[-2] ** 0.5)
    maps = tokens.flatten(0, 1).transpose(1, 2).unflatten(2, (side, side))
    return convolution(maps).flatten(2).transpose(1, 2).reshape(tokens.shape)


def test_the_last_streams_are_what_is_read_of_each_pathway(policy):
    read = {}
    where = {
        "model.vlm.multi_modal_projector": "vision.7.resid_post",
        "model.transformer.vlm_proj": "vlm.1.resid_post",
        "model.transformer.norm": "trunk.1.resid_post",
    }
    handles = [
        policy.model.get_submodule(path).register_forward_pre_hook(
            lambda _, args, path=path: read.update({path: args[0].clone()})
        )
        for path in where
    ]
    with policy.record(list(where.values())) as cache:
        policy.infer(rows(policy, 2))
    for handle in handles:
        handle.remove()
    maps = read["model.vlm.multi_modal_projector"].flatten(2).transpose(1, 2)
    assert torch.equal(maps, cache.stack("vision.7.resid_post")[-1])
    assert torch.equal(read["model.transformer.vlm_proj"], cache.stack("vlm.1.resid_post")[-1])
    actions = cache.stack("trunk.1.resid_post")[-1][:, : policy.info.horizon]
    assert torch.equal(read["model.transformer.norm"], actions)


def test_the_trunk_starts_with_what_its_spans_say(policy, recorded):
    spans = policy.token_spans(rows(policy, 2))["trunk"][1]
    names = ["action", "image.corner2", "instruction", "padding", "empty_view", "soft_prompt"]
    assert list(spans) == names
    first = recorded.stack("trunk.0.resid_pre")[3, 1]
    place = policy.model.model.transformer.pos_emb[0]
    of = {
        name: recorded.stack(f"trunk.{name}")[3, 1]
        for name in ("action_encoder", "vlm_proj", "aux_visual_proj", "soft_prompt")
    }
    assert torch.equal(first[spans["action"]], of["action_encoder"] + place[spans["action"]])
    read = slice(spans["image.corner2"].start, spans["padding"].stop)
    assert torch.equal(first[read], of["vlm_proj"] + place[read])
    assert torch.equal(
        first[spans["empty_view"]], of["aux_visual_proj"] + place[spans["empty_view"]]
    )
    assert torch.equal(first[spans["soft_prompt"]], of["soft_prompt"])


def test_the_text_of_the_vlm_is_where_the_spans_say(policy):
    seen = rows(policy, 3)
    tokens = policy.batch(seen)["observation.language.tokens"]
    for row, spans in zip(tokens, policy.token_spans(seen)["vlm"], strict=True):
        text = row[spans["instruction"].start - spans["image.corner2"].stop :]
        words = spans["instruction"].stop - spans["instruction"].start
        assert (text[:words] != 1).all()
        assert (text[words:] == 1).all()


def test_attention_is_read_beside_the_network_and_written_into_it(policy):
    seen = rows(policy, 2)
    plain = policy.infer(seen).actions
    with policy.record("*.attn_probs") as cache:
        watched = policy.infer(seen).actions
    assert np.array_equal(watched, plain)
    for name, probabilities in upstream_attention(policy, seen).items():
        torch.testing.assert_close(cache.stack(name)[-1], probabilities, atol=2e-6, rtol=0)
    for name, calls in (("vlm.0.attn_probs", 1), ("trunk.1.attn_probs", 10)):
        tap = policy.tap(policy.match(name)[0])
        for change, close in ((torch.clone, True), (torch.zeros_like, False)):
            handles = tap.attach(policy.model, change)
            assert np.allclose(policy.infer(seen).actions, plain, atol=1e-5) is close
            for handle in handles:
                handle.remove()
        assert len(cache[name]) == calls
    assert np.array_equal(policy.infer(seen).actions, plain)


def upstream_attention(policy, seen):
    """What upstream's own unfused paths compute."""
    found = {}
    block = policy.model.model.transformer.blocks[1].attn
    encoder = policy.model.model.vlm.language_model.encoder
    handles = [
        block.attn_drop.register_forward_hook(
            lambda _, args, out: found.update({"trunk.1.attn_probs": out})
        ),
        encoder.layers[0].self_attn.register_forward_hook(
            lambda _, args, out: found.update({"vlm.0.attn_probs": out[1]})
        ),
    ]
    block.fused_attn, encoder.config._attn_implementation = False, "eager"
    policy.infer(seen)
    block.fused_attn, encoder.config._attn_implementation = True, "sdpa"
    for handle in handles:
        handle.remove()
    return found


def test_words_of_the_vocabulary_are_named_and_the_rest_numbered(policy):
    matrix, words = policy.unembedding()
    assert matrix.shape == (384, 64)
    assert words[:4] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert words[-1] == "<row 383>"
