"""SmolVLA through lerobot's class: parity, truth of the hook map, spans, attention, gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from vlascope import conformance
from vlascope.hooks import BLOCK_SITES, HookPoint
from vlascope.noise import generator_for
from vlascope.recording import capture
from vlascope.specs import CameraSpec
from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.policy import STATE
from vlascope_adapters.lerobot.smolvla import SmolVLAAdapter
from vlascope_adapters.lerobot.smolvla_built import at_real_size, tiny_policy

PROMPTS = ("open the drawer", "push", "pick up the red block and reach the green ball")


@pytest.fixture(scope="module")
def policy():
    return SmolVLAAdapter.tiny(0)


@pytest.fixture(scope="module")
def rows(policy):
    """Three observations whose instructions differ in length."""
    seen = [policy.example_observation(seed) for seed in range(3)]
    return [replace(o, instruction=text) for o, text in zip(seen, PROMPTS, strict=True)]


@pytest.fixture(scope="module")
def everything(policy, rows):
    """All hook points on these rows."""
    with policy.record("*") as cache:
        policy.infer(rows)
    return cache


def noise_for(rows):
    return [generator_for(7, i) for i, _ in enumerate(rows)]


def loop_of(policy):
    return policy.model.model.vlm_with_expert


def test_actions_are_those_of_the_upstream_call_also_while_everything_is_recorded(policy, rows):
    noise = policy.noise(noise_for(rows))
    upstream = policy.model.predict_action_chunk(policy.batch(rows), noise=noise)
    with policy.record(["*", "*.attn_probs"]):
        ours = policy.infer(rows, generators=noise_for(rows))
    wanted = torch.stack([policy.processors.after(row) for row in upstream])
    assert np.array_equal(ours.actions, wanted.numpy())
    assert np.array_equal(ours.actions, policy.infer(rows, generators=noise_for(rows)).actions)


@pytest.mark.parametrize("pathway", ["vision", "vlm", "expert"])
def test_branches_add_up_to_the_stream(policy, everything, pathway):
    for layer in range(policy.info.pathway(pathway).n_layers):
        at = {site: everything.stack(f"{pathway}.{layer}.{site}") for site in BLOCK_SITES}
        torch.testing.assert_close(at["resid_mid"] - at["resid_pre"], at["attn_out"])
        torch.testing.assert_close(at["resid_post"] - at["resid_mid"], at["mlp_out"])
        if layer:
            before = everything.stack(f"{pathway}.{layer - 1}.resid_post")
            assert torch.equal(at["resid_pre"], before)


def test_the_last_resid_post_is_what_the_final_norm_reads(policy, everything):
    text, loop = loop_of(policy).vlm.model.text_model, loop_of(policy)
    norms = {"vlm": text.norm, "expert": loop.lm_expert.norm}
    norms["vision"] = loop.vlm.model.vision_model.post_layernorm
    for pathway, norm in norms.items():
        last = everything.stack(f"{pathway}.{policy.info.pathway(pathway).n_layers - 1}.resid_post")
        torch.testing.assert_close(norm(last), everything.stack(f"{pathway}.final_norm"))
    assert torch.equal(
        policy.model.model.action_out_proj(everything.stack("expert.final_norm")),
        everything.stack("expert.action_head"),
    )


def test_neurons_times_value_vectors_are_what_the_ffn_adds(policy, everything):
    for layer in range(policy.info.pathway("vlm").n_layers):
        added = everything.stack(f"vlm.{layer}.mlp_act") @ policy.value_vectors(layer)
        torch.testing.assert_close(added, everything.stack(f"vlm.{layer}.mlp_out"))


def test_the_prefix_is_what_its_spans_say(policy, rows, everything):
    spans = policy.token_spans(rows)["vlm"]
    first = everything.stack("vlm.0.resid_pre")[0]
    scale = first.shape[-1] ** 0.5
    pictures = everything.stack("vision.projector")[0] * scale
    states = everything.stack("vlm.state_encoder")[0]
    tokens = policy.batch(rows)["observation.language.tokens"]
    words = loop_of(policy).embed_language_tokens(tokens) * scale
    lengths = set()
    for row, span in enumerate(spans):
        assert torch.equal(first[row][span["image.corner2"]], pictures[row])
        assert torch.equal(first[row][span["state"]], states[row])
        said = first[row][span["instruction"]]
        torch.testing.assert_close(said, words[row][: len(said)])
        text = policy._tokenize.input_tokenizer.decode(tokens[row][: len(said)])
        assert text == rows[row].instruction + "\n"
        lengths.add(len(said))
    assert len(lengths) == 3
    assert "padding" in spans[1]
    assert "padding" not in spans[2]


def test_a_batch_of_three_is_three_batches_of_one(policy, rows):
    together = policy.infer(rows, generators=noise_for(rows)).actions
    for i, row in enumerate(rows):
        alone = policy.infer([row], generators=[generator_for(7, i)]).actions[0]
        np.testing.assert_allclose(together[i], alone, atol=1e-4)


def test_each_row_starts_from_its_own_noise(policy, rows):
    same = [rows[0], rows[0]]
    twice = policy.infer(same, generators=[generator_for(1), generator_for(1)]).actions
    apart = policy.infer(same, generators=[generator_for(1), generator_for(2)]).actions
    np.testing.assert_allclose(twice[0], twice[1], atol=1e-5)
    assert np.abs(apart[0] - apart[1]).max() > 1e-3


def test_what_is_written_stays_the_writers(policy, rows):
    """Upstream adds to branches in place; an edit's own tensor must not be added to."""
    for name in ("vlm.1.attn_out", "vlm.1.mlp_out", "vlm.1.resid_post", "expert.0.resid_pre"):
        given = torch.ones_like(capture(policy, rows, name).stack(name)[0])
        point = HookPoint.parse(name)
        handles = policy.tap(point).attach(policy.model, lambda _, given=given: given)
        policy.infer(rows)
        for handle in handles:
            handle.remove()
        assert torch.equal(given, torch.ones_like(given)), name


def test_attention_is_what_upstream_computes(policy, rows, monkeypatch):
    truth, softmax = [], torch.nn.functional.softmax
    monkeypatch.setattr(
        torch.nn.functional, "softmax", lambda *a, **k: truth.append(softmax(*a, **k)) or truth[-1]
    )
    policy.infer(rows)
    monkeypatch.undo()
    steps = policy.config.num_steps
    with policy.record("*.attn_probs") as seen:
        policy.infer(rows)
    vlm, expert = (policy.info.pathway(name).n_layers for name in ("vlm", "expert"))
    assert len(truth) == vlm + steps * expert
    for layer in range(vlm):
        torch.testing.assert_close(seen.stack(f"vlm.{layer}.attn_probs")[0], truth[layer])
    for layer in range(expert):
        here = seen.stack(f"expert.{layer}.attn_probs")
        wanted = torch.stack(truth[vlm + layer :: expert][:steps])
        torch.testing.assert_close(here, wanted)
        prefix = seen.stack("vlm.0.attn_probs").shape[-1]
        own = policy.config.chunk_size if layer % 2 == 0 else 0
        assert here.shape[-1] == prefix + own
        ahead = torch.ones(policy.config.chunk_size, own).triu(1).bool()
        assert (here[..., prefix:][..., ahead] == 0).all()


def test_nothing_of_the_prefix_attends_to_the_state_or_to_padding(policy, rows):
    spans = policy.token_spans(rows)["vlm"]
    with policy.record("*.attn_probs") as seen:
        policy.infer(rows)
    for row, span in enumerate(spans):
        padding = span["padding"] if "padding" in span else slice(0, 0)
        for point in seen:
            for captured in seen[point]:
                assert (captured.rows[row][..., padding][:, span["image.corner2"]] == 0).all()
                if point.pathway == "vlm":
                    before = captured.rows[row][:, : span["instruction"].stop]
                    assert (before[..., span["state"]] == 0).all()


def test_attention_can_be_written_and_upstream_gets_its_methods_back(policy, rows):
    loop, before = loop_of(policy), policy.infer(rows).actions
    own = set(vars(loop))

    def acting(edit):
        points = policy.match("*.attn_probs")
        handles = [h for p in points for h in policy.tap(p).attach(policy.model, edit)]
        actions = policy.infer(rows).actions
        for handle in handles:
            handle.remove()
        return actions

    np.testing.assert_allclose(acting(torch.clone), before, atol=1e-5)
    assert np.abs(acting(lambda p: p.flip(-1)) - before).max() > 1e-3
    assert set(vars(loop)) == own
    assert np.array_equal(policy.infer(rows).actions, before)


@pytest.mark.parametrize("name", ["vlm.0.resid_pre", "vlm.1.resid_mid", "vision.0.attn_out"])
def test_gradients_are_those_of_a_small_change(policy, rows, name):
    point, seen = HookPoint.parse(name), rows[:1]
    leaf = capture(policy, seen, name).stack(name)[0].clone().requires_grad_()
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
    torch.testing.assert_close(change / 2, (gradient * step).sum(), rtol=2e-2, atol=1e-4)


class ManyCameras(SmolVLAAdapter):
    """Two cameras, an empty one, marks around pictures, a prefix filled up at the end."""

    @classmethod
    def tiny(cls, seed=0):
        wrist = {"wrist": CameraSpec(96, 96, render="fast")}
        robot = replace(
            tiny.ROBOT,
            cameras={**tiny.ROBOT.cameras, **wrist},
            views={**tiny.ROBOT.views, "wrist": ("camera2",)},
        )
        given = tiny.features()["input_features"]
        seen = {tiny.VIEW: given[tiny.VIEW], "observation.images.camera2": given[tiny.VIEW]}
        policy, processors = tiny_policy(
            seed,
            input_features={**seen, STATE: given[STATE]},
            empty_cameras=1,
            prefix_length=40,
            add_image_special_tokens=True,
        )
        return cls(policy, processors, robot, f"tiny-{seed}")


def test_cameras_empty_ones_and_marks_have_spans_of_their_own():
    subject = conformance.AdapterSubject(ManyCameras)
    wanted = (
        "token_spans_cover_the_sequence",
        "points_fire_as_declared",
        "rows_are_independent",
        "image_reaches_the_action",
        "chunk_matches_info",
    )
    for check in conformance.ADAPTER_CHECKS:
        if check.code in wanted:
            check(subject)
    spans = subject.adapter.token_spans(subject.examples(0))
    assert list(spans["vlm"][0]) == [
        *("mark.before.image.corner2", "image.corner2", "mark.after.image.corner2"),
        *("mark.before.image.wrist", "image.wrist", "mark.after.image.wrist"),
        *("mark.before.padding.camera0", "padding.camera0", "mark.after.padding.camera0"),
        *("instruction", "state", "padding.end"),
    ]
    shown = [subject.adapter.token_spans(subject.examples(0), call=k) for k in range(3)]
    names = [next(iter(spans["vision"][0])) for spans in shown]
    assert names == ["image.corner2", "image.wrist", "padding.camera0"]


def test_the_real_size_is_the_published_one():
    """450 M in all (model card of lerobot/smolvla_base), about 100 M of them the expert's.

    The latter is said in https://huggingface.co/blog/smolvla and in arXiv:2506.01844.
    """
    model = at_real_size().model
    loop = model.vlm_with_expert

    def millions(*modules):
        return round(sum(p.numel() for m in modules for p in m.parameters()) / 1e6, 1)

    assert millions(model) == pytest.approx(450, abs=0.5)
    assert millions(loop.lm_expert) == pytest.approx(100, abs=2)
    parts = loop.vlm.model
    assert millions(parts.vision_model) == 86.4
    assert millions(parts.connector) == 11.8
    assert millions(parts.text_model, loop.vlm.lm_head) == 251.9
