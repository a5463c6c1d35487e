"""GR00T N1.5: what upstream's code gives, the truth of the hook map, tokens, normalisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from lerobot.policies.groot.action_head.cross_attention_dit import DiT, SelfAttentionTransformer

from vlascope.hooks import BLOCK_SITES
from vlascope.interventions import ZeroAblate
from vlascope.noise import generator_for, normal
from vlascope.recording import capture
from vlascope.specs import CameraSpec
from vlascope_adapters.groot_n15.adapter import GR00TN15Adapter
from vlascope_adapters.groot_n15.anatomy import blocks
from vlascope_adapters.groot_n15.checkpoint import Parts
from vlascope_adapters.groot_n15.embodiment import Embodiment, Scale
from vlascope_adapters.groot_n15.network import GR00TN15
from vlascope_adapters.groot_n15.published import at_real_size, published, published_shapes
from vlascope_adapters.groot_n15.tiny import CONFIG, tiny_parts
from vlascope_adapters.robots import ROBOTS


@pytest.fixture(scope="module")
def policy():
    return GR00TN15Adapter.tiny(0)


@pytest.fixture(scope="module")
def rows(policy):
    """Three observations whose instructions have three lengths."""
    said = ("push", "open the drawer", "pick up the red block and put it on the left")
    return [replace(policy.example_observation(i), instruction=t) for i, t in enumerate(said)]


def noise(rows, seed=0):
    return [generator_for(seed, i) for i in range(rows)]


@torch.no_grad()
def upstream(policy, seen, generators):
    """The steps of NVIDIA's `get_action` on lerobot's and transformers' own forward passes."""
    batch, eagle = policy.batch(seen), policy.model.backbone.eagle_model
    head = policy.model.action_head
    pictures = eagle.mlp1(eagle.vision_model(pixel_values=batch["pixel_values"])[0])
    embeds = eagle.language_model.get_input_embeddings()(batch["input_ids"])
    selected = batch["input_ids"] == eagle.image_token
    embeds[selected] = embeds[selected] * 0.0 + pictures.reshape(-1, embeds.shape[-1])
    features = eagle.language_model(
        inputs_embeds=embeds, attention_mask=batch["attention_mask"], output_hidden_states=True
    ).hidden_states[CONFIG["backbone_cfg"]["select_layer"]]
    features = SelfAttentionTransformer.forward(head.vl_self_attention, head.vlln(features))
    robot = batch["embodiment_id"]
    state = head.state_encoder(batch["state"], robot)
    future = head.future_tokens.weight.unsqueeze(0).expand(len(seen), -1, -1)
    positions = head.position_embedding(torch.arange(head.horizon)).unsqueeze(0)
    actions = normal(generators, (head.horizon, head.action_dim))
    for step in range(4):
        time = torch.full((len(seen),), int(step / 4.0 * 1000))
        moving = head.action_encoder(actions, time, robot) + positions
        out = DiT.forward(head.model, torch.cat((state, future, moving), 1), features, time)
        actions = actions + 1.0 / 4 * head.action_decoder(out, robot)[:, -head.horizon :]
    low, span = policy.embodiment.action.zero, policy.embodiment.action.span
    return ((actions[..., : len(low)] + 1) / 2 * span + low).numpy()


def test_actions_are_those_of_upstreams_steps_also_when_everything_is_recorded(policy, rows):
    same_length = [replace(row, instruction="open the drawer") for row in rows]
    for seen in ([rows[2]], same_length):
        wanted = upstream(policy, seen, noise(len(seen)))
        assert np.array_equal(policy.infer(seen, generators=noise(len(seen))).actions, wanted)
        with policy.record("*"):
            ours = policy.infer(seen, generators=noise(len(seen)))
        assert np.array_equal(ours.actions, wanted)


def test_rows_of_three_lengths_act_as_each_alone_which_upstreams_batches_do_not(policy, rows):
    together = policy.infer(rows, generators=noise(3)).actions
    alone = [
        policy.infer([row], generators=[generator_for(0, i)]).actions[0]
        for i, row in enumerate(rows)
    ]
    np.testing.assert_allclose(together, alone, atol=2e-5)
    assert np.abs(upstream(policy, rows, noise(3)) - np.stack(alone)).max() > 1e-3


def test_branches_add_up_to_the_stream_that_is_read_next(policy, rows):
    with policy.record([f"{p.name}.*" for p in policy.info.pathways]) as cache:
        policy.infer(rows[:1])
    for pathway in policy.info.pathways:
        for layer, block in enumerate(blocks(policy.model, pathway.name)):
            at = {s: cache.stack(f"{pathway.name}.{layer}.{s}") for s in BLOCK_SITES}
            close = torch.testing.assert_close
            close(at["resid_pre"] + at["attn_out"], at["resid_mid"], atol=1e-5, rtol=1e-5)
            close(at["resid_mid"] + at["mlp_out"], at["resid_post"], atol=1e-5, rtol=1e-5)
            down = {"vision": "mlp.fc2", "vlm": "mlp.down_proj"}.get(pathway.name, "ff.net.2")
            close(policy.model.get_submodule(f"{block}.{down}")(at["mlp_act"]), at["mlp_out"])
            if layer + 1 < pathway.n_layers:
                assert torch.equal(
                    at["resid_post"], cache.stack(f"{pathway.name}.{layer + 1}.resid_pre")
                )


@pytest.mark.parametrize(
    ("post", "reader"),
    [
        ("vision.1.resid_post", "backbone.eagle_model.vision_model.vision_model.post_layernorm"),
        ("vlm.2.resid_post", "backbone.eagle_model.language_model.model.norm"),
        ("expert.3.resid_post", "action_head.model.norm_out"),
    ],
)
def test_the_last_block_leaves_what_the_norm_after_it_receives(policy, rows, post, reader):
    received = []
    module = policy.model.get_submodule(reader)
    handle = module.register_forward_pre_hook(lambda _, args: received.append(args[0].clone()))
    with policy.record(post) as cache:
        policy.infer(rows[:1])
    handle.remove()
    assert torch.equal(cache.stack(post), torch.stack(received))


def test_spans_name_the_tokens_that_the_prompt_has(policy, rows):
    ids, mask = policy.batch(rows)["input_ids"], policy.batch(rows)["attention_mask"]
    for row, span in enumerate(policy.token_spans(rows)["vlm"]):
        text = {n: policy.eagle.tokenizer.decode(ids[row, span[n]]) for n in span}
        assert text["instruction"] == str([rows[row].instruction])
        assert text["image.corner2"] == "<IMG_CONTEXT>" * 16
        assert text["template.corner2"].endswith("<|im_start|>user\n<image 1><img>")
        assert text["template.answer"] == "<|im_end|>\n<|im_start|>assistant\n"
        assert (~mask[row]).sum() == len(range(*span.pairs().get("padding", (0, 0))))


def test_the_expert_starts_with_what_its_spans_say(policy, rows):
    with policy.record(["expert.0.resid_pre", "expert.*_*"]) as cache:
        policy.infer(rows[:1])
    span = policy.token_spans(rows[:1])["expert"][0]
    first = cache.stack("expert.0.resid_pre")[:, 0]
    head = policy.model.action_head
    state = head.state_encoder(policy.batch(rows[:1])["state"], torch.tensor([31]))[0]
    for call in range(4):
        assert torch.equal(first[call][span["state"]], state)
        assert torch.equal(first[call][span["soft_prompt"]], head.future_tokens.weight)
        moving = cache.stack("expert.action_encoder")[call, 0] + head.position_embedding.weight[:16]
        assert torch.equal(first[call][span["action"]], moving)
    assert torch.equal(cache.stack("expert.state_encoder")[2, 0], state)


def test_attention_is_read_where_it_is_computed(policy, rows):
    seen = [rows[0], rows[2]]
    points = [str(p) for p in policy.attention_points()]
    plain = policy.infer(seen, generators=noise(2)).actions
    with policy.record(points) as cache:
        watched = policy.infer(seen, generators=noise(2)).actions
    np.testing.assert_allclose(watched, plain, atol=1e-5)
    pad = policy.token_spans(seen)["vlm"][0]["padding"].stop
    assert pad > 0
    causal = cache["vlm.0.attn_probs"][0].rows[0][:, pad:]
    assert not causal[..., :pad].any()
    assert not causal[..., pad:].triu(1).any()
    for point in ("vlsa.0.attn_probs", "expert.0.attn_probs"):
        assert not cache[point][0].rows[0][..., :pad].any()
    assert cache["expert.1.attn_probs"][0].rows[0].shape == (4, 25, 25)
    with policy.intervene(ZeroAblate(at=("expert.0.attn_probs",))):
        assert np.abs(policy.infer(seen, generators=noise(2)).actions - plain).max() > 1e-4


def test_gradients_are_those_of_a_small_change(policy, rows):
    point = policy.match("vlsa.0.resid_post")[0]
    leaf = capture(policy, rows[:1], str(point)).stack(str(point))[0].clone().requires_grad_()
    step = torch.randn(leaf.shape, generator=generator_for(2)) * 1e-2

    def actions(value):
        handles = policy.tap(point).attach(policy.model, lambda _: value)
        try:
            return policy.differentiable_actions(rows[:1], generators=noise(1)).sum()
        finally:
            for handle in handles:
                handle.remove()

    (gradient,) = torch.autograd.grad(actions(leaf), leaf)
    with torch.no_grad():
        change = actions(leaf + step) - actions(leaf - step)
    torch.testing.assert_close(change / 2, (gradient * step).sum(), rtol=2e-2, atol=1e-4)


def test_value_vectors_and_words_are_the_language_models(policy, rows):
    with policy.record(["vlm.1.mlp_act", "vlm.1.mlp_out"]) as cache:
        policy.infer(rows[:1])
    written = cache.stack("vlm.1.mlp_act") @ policy.value_vectors(1)
    torch.testing.assert_close(written, cache.stack("vlm.1.mlp_out"))
    matrix, words = policy.unembedding()
    assert matrix.shape == (len(words), 64)
    assert words[policy.eagle.tokenizer.convert_tokens_to_ids("<img>")] == "<img>"


def libero(cameras=("image", "wrist_image"), **eagle):
    """The same network on LIBERO's robot: two cameras, a gripper that is 1 when open."""
    parts = tiny_parts(1)
    changed = replace(parts.eagle, config={**parts.eagle.config, **eagle})
    network = GR00TN15(CONFIG, changed.config)
    state = Scale(torch.full((8,), -1.0), torch.full((8,), 2.0), torch.zeros(8, dtype=torch.bool))
    action = Scale(
        torch.tensor([-1.0] * 6 + [0.0]), torch.tensor([2.0] * 6 + [1.0]), state.centred[:7]
    )
    own = Embodiment("new_embodiment", state, action, cameras)
    robot = ROBOTS["libero"]
    small = replace(robot, cameras={name: CameraSpec(64, 64) for name in robot.cameras})
    return GR00TN15Adapter(Parts(network, changed, own), small, "libero")


def test_a_rows_cameras_are_told_apart(rows):
    policy = libero()
    seen = [policy.example_observation(0), policy.example_observation(1)]
    with policy.record(["vision.0.resid_pre", "vision.projector", "vlm.0.resid_pre"]) as cache:
        policy.infer(seen)
    assert cache["vision.0.resid_pre"][0].rows[1].shape == (32, 32)
    for row, spans in enumerate(policy.token_spans(seen)["vlm"]):
        for camera, part in (("agentview", slice(0, 16)), ("wrist", slice(16, 32))):
            read = cache["vlm.0.resid_pre"][0].rows[row][spans[f"image.{camera}"]]
            assert torch.equal(read, cache["vision.projector"][0].rows[row][part])


def test_liberos_gripper_closes_at_minus_one_of_the_demonstrations():
    policy = libero()
    actions = torch.zeros(1, 2, 8)
    actions[0, :, 6] = torch.tensor([-0.8, 0.8])
    assert policy._decoded(actions)[0, :, 6].tolist() == [1.0, -1.0]


def test_eagles_pixel_shuffle_and_deeper_projector_are_honoured():
    policy = libero(use_pixel_shuffle=True, mlp_connector_layers=2)
    seen = [policy.example_observation(0)]
    with policy.record("vision.projector") as cache:
        policy.infer(seen)
    assert len(cache["vision.projector"][0].rows[0]) == 8
    assert policy.token_spans(seen)["vision"][0].n_tokens == 32


def test_bfloat16_keeps_the_rotary_frequencies_exact(policy, rows):
    half = GR00TN15Adapter.tiny(0)
    exact = half.model.backbone.eagle_model.language_model.model.rotary_emb.inv_freq.clone()
    half.model.to(torch.bfloat16)
    rotary = half.model.backbone.eagle_model.language_model.model.rotary_emb
    assert torch.equal(rotary.inv_freq, exact)
    apart = half.infer(rows).actions - policy.infer(rows).actions
    assert 0 < np.abs(apart).mean() < 0.05


def test_every_tensor_has_the_published_name_and_shape():
    network, counts = at_real_size(), published()["counts"]
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert own == published_shapes()
    assert sum(name.startswith("backbone.") for name in own) == counts["backbone_tensors"]
    whole, head = (
        sum(p.numel() for p in part.parameters()) for part in (network, network.action_head)
    )
    assert (whole, head) == (counts["parameters"], counts["action_head_parameters"])
