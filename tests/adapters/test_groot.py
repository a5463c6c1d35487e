"""GR00T N1.7 through lerobot's class: parity, truth of the hook map, spans, noise, gradients."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from lerobot.policies.groot import groot_n1_7

from vlascope.hooks import BLOCK_SITES
from vlascope.noise import generator_for
from vlascope.recording import capture
from vlascope_adapters.lerobot.groot import GrootAdapter
from vlascope_adapters.lerobot.groot_taps import drawn

DOWN = {"vision": "mlp.linear_fc2", "vlm": "mlp.down_proj"}
TEXTS = ("open it", "pick up the red block and put it down on the left", "push the button")


@pytest.fixture(scope="module")
def policy():
    return GrootAdapter.tiny(0)


def scenes(policy, *texts):
    return [
        replace(policy.example_observation(seed), instruction=text)
        for seed, text in enumerate(texts)
    ]


def noises(rows):
    return [generator_for(0, row) for row in range(rows)]


def upstream_actions(policy, seen, monkeypatch):
    """Upstream's call, untouched, under the noise that the adapter draws."""
    noise = policy.noise(noises(len(seen)))
    batch = policy.batch(seen)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn", lambda **_asked: noise)
        return policy.model.predict_action_chunk(batch)


def test_actions_are_those_of_the_upstream_call(policy, monkeypatch):
    seen = scenes(policy, *[TEXTS[1]] * 3)
    wanted = upstream_actions(policy, seen, monkeypatch)
    assert torch.equal(policy._chunk(policy.batch(seen), noises(3)), wanted)
    with policy.record("*"):
        ours = policy.infer(seen, generators=noises(3))
    assert np.array_equal(ours.actions, policy.processors.after(wanted).numpy())


def test_rows_with_instructions_of_any_length_are_those_of_batches_of_one(policy, monkeypatch):
    seen = scenes(policy, *TEXTS)
    together = policy.infer(seen, generators=noises(3)).actions
    leaking = policy.processors.after(upstream_actions(policy, seen, monkeypatch)).numpy()
    apart = 0.0
    for row, scene in enumerate(seen):
        alone = policy.infer([scene], generators=[generator_for(0, row)]).actions[0]
        np.testing.assert_allclose(together[row], alone, atol=2e-5)
        apart = max(apart, float(np.abs(leaking[row] - alone).max()))
    assert apart > 1e-2  # upstream lets padding into its self-attention stack


def test_branches_add_up_to_the_stream_everywhere(policy):
    seen = scenes(policy, *TEXTS)
    with policy.record("*") as cache:
        policy.infer(seen)
    for pathway in policy.info.pathways:
        for layer in range(pathway.n_layers):
            at = {s: cache.stack(f"{pathway.name}.{layer}.{s}") for s in BLOCK_SITES}
            assert at["resid_post"].shape[0] == pathway.calls_per_chunk
            torch.testing.assert_close(at["resid_mid"], at["resid_pre"] + at["attn_out"])
            torch.testing.assert_close(at["resid_post"], at["resid_mid"] + at["mlp_out"])
            block = policy.model.get_submodule(policy._blocks(pathway.name)[layer])
            written = block.get_submodule(DOWN.get(pathway.name, "ff.net.2"))(at["mlp_act"])
            torch.testing.assert_close(at["mlp_out"], written, atol=1e-4, rtol=1e-4)


def test_the_last_blocks_are_what_upstream_reads(policy):
    seen = scenes(policy, *TEXTS)
    backbone, head = policy.model._groot_model.backbone.model.model, policy._head
    entered = {}
    readers = {"vision": backbone.visual.merger, "vlm": head.vlln, "expert": head.model.norm_out}
    handles = [
        reader.register_forward_pre_hook(lambda _, args, name=name: entered.update({name: args[0]}))
        for name, reader in readers.items()
    ]
    with policy.record("*.resid_post") as cache:
        policy.infer(seen)
    for handle in handles:
        handle.remove()
    for name, value in entered.items():
        last = cache.stack(f"{name}.{policy.info.pathway(name).n_layers - 1}.resid_post")[-1]
        assert torch.equal(last.reshape(value.shape), value)


def test_deepstack_is_added_between_the_first_language_layers(policy):
    seen = scenes(policy, TEXTS[1])
    with policy.record("*") as cache:
        policy.infer(seen)
    image = policy.token_spans(seen)["vlm"][0]["image.corner2"]
    for layer in range(2):
        after = cache.stack(f"vlm.{layer}.resid_post")[0, 0]
        before_next = cache.stack(f"vlm.{layer + 1}.resid_pre")[0, 0]
        wanted = after.clone()
        wanted[image] += cache.stack(f"vision.deepstack_{layer}")[0, 0]
        assert torch.equal(before_next, wanted)


def test_spans_name_the_tokens_that_upstream_reads(policy):
    seen = scenes(policy, "Open the DRAWER!", TEXTS[1], "")
    batch = policy.batch(seen)
    with policy.record(["vlm.0.resid_pre", "expert.*", "vision.projector"]) as cache:
        policy.infer(seen)
    texts = policy._layout.texts
    said = ("open the drawer", TEXTS[1], "perform the task")  # upstream's own for an empty one
    for row, spans in enumerate(policy.token_spans(seen)["vlm"]):
        tokens = batch["input_ids"][row]
        assert texts.decode(tokens[spans["instruction"]]) == said[row]
        padded = spans["padding"].stop if "padding" in spans else 0
        assert batch["attention_mask"][row].tolist() == [0] * padded + [1] * (len(tokens) - padded)
        first = cache.stack("vlm.0.resid_pre")[0, row]
        assert torch.equal(first[spans["image.corner2"]], cache.stack("vision.projector")[0, row])
    entering = cache.stack("expert.0.resid_pre")
    assert torch.equal(entering[:, :, :1], cache.stack("expert.state_encoder"))
    places = policy._head.position_embedding.weight[:10]
    torch.testing.assert_close(entering[:, :, 1:], cache.stack("expert.action_encoder") + places)


def test_probabilities_are_those_of_the_eager_kernel(policy):
    seen = scenes(policy, TEXTS[0], TEXTS[1])
    points = [str(p) for p in policy.attention_points()]
    with policy.record(points) as cache:
        policy.infer(seen)
    model, eager = policy.model._groot_model.backbone.model, []
    layer = model.model.language_model.layers[1].self_attn
    handle = layer.register_forward_hook(lambda _m, _a, output: eager.append(output[1]))
    model.set_attn_implementation("eager")
    try:
        policy.infer(seen)
    finally:
        model.set_attn_implementation("sdpa")
        handle.remove()
    spans = policy.token_spans(seen)["vlm"]
    real = slice(spans[0]["padding"].stop, None)
    torch.testing.assert_close(cache.stack("vlm.1.attn_probs")[0, 0, :, real], eager[0][0, :, real])
    for layer, unread in ((0, "image.corner2"), (2, "instruction")):
        probabilities = cache.stack(f"expert.{layer}.attn_probs")
        for row, span in enumerate(spans):
            assert probabilities[:, row, ..., span[unread]].abs().max() == 0
    assert cache.stack("vlsa.1.attn_probs")[0, 0, ..., spans[0]["padding"]].abs().max() == 0


def test_noise_is_given_to_one_thread_for_one_call_and_taken_back(policy):
    noise, elsewhere = torch.zeros(1, 10, 8), []
    asked = {"size": (1, 10, 8), "dtype": torch.float32, "device": "cpu"}

    def draw():
        elsewhere.append(groot_n1_7.torch.randn(**asked))

    def fail():
        with drawn(noise):
            assert groot_n1_7.torch.randn(**asked) is noise
            (other := Thread(target=draw)).start()
            other.join()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert groot_n1_7.torch is torch
    assert elsewhere[0].abs().sum() > 0


def test_gradients_are_those_of_a_small_change():
    policy = GrootAdapter.tiny(0)
    policy.model.double()
    seen = scenes(policy, TEXTS[1])
    point = policy.match("vlm.0.resid_post")[0]
    leaf = capture(policy, seen, str(point)).stack(str(point))[0].clone().requires_grad_()
    step = torch.randn(leaf.shape, generator=generator_for(2)).double() * 1e-5

    def actions(value):
        handles = policy.tap(point).attach(policy.model, lambda _: value)
        try:
            return policy.differentiable_actions(seen, generators=noises(1)).sum()
        finally:
            for handle in handles:
                handle.remove()

    (gradient,) = torch.autograd.grad(actions(leaf), leaf)
    with torch.no_grad():
        change = actions(leaf + step) - actions(leaf - step)
    torch.testing.assert_close(change / 2, (gradient * step).sum(), rtol=1e-3, atol=1e-8)


def test_the_vocabulary_and_the_value_vectors_are_the_backbones(policy):
    matrix, tokens = policy.unembedding()
    assert torch.equal(matrix, policy.model._groot_model.backbone.model.lm_head.weight)
    assert tokens[policy._layout.texts.convert_tokens_to_ids("<|im_end|>")] == "<|im_end|>"
    down = policy.model._groot_model.backbone.model.model.language_model.layers[2].mlp.down_proj
    assert torch.equal(policy.value_vectors(2), down.weight.T)
