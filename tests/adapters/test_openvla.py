"""OpenVLA as a network of our own: sizes, decoding, the truth of the hook map."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("transformers")

from vlascope.hooks import BLOCK_SITES
from vlascope.interventions import Identity, ZeroAblate
from vlascope.taps import InputTap
from vlascope_adapters.openvla.adapter import OpenVLAAdapter, at_real_size
from vlascope_adapters.openvla.decoding import detokenised
from vlascope_adapters.openvla.network import Padded

HUB = json.loads(Path(__file__).with_name("openvla_hub_keys.json").read_text())


def spelt_out(patterns):
    """`{a..b}` in names replaced by every number."""
    found = {}
    for pattern, shape in patterns.items():
        numbers = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
        if numbers is None:
            found[pattern] = tuple(shape)
            continue
        for i in range(int(numbers[1]), int(numbers[2]) + 1):
            found[pattern.replace(numbers[0], str(i))] = tuple(shape)
    return found


@pytest.fixture(scope="module")
def policy():
    return OpenVLAAdapter.tiny(0)


@pytest.fixture(scope="module")
def seen(policy):
    return [policy.example_observation(seed) for seed in range(3)]


def test_names_and_shapes_are_those_of_the_published_checkpoint():
    network = at_real_size()
    state = network.state_dict()
    assert {name: tuple(t.shape) for name, t in state.items()} == spelt_out(HUB["main"])
    assert sum(t.numel() for t in state.values()) == HUB["parameters"]
    counts = dict.fromkeys(HUB["tensors"], 0)
    for name in state:
        counts[name.split(".")[0]] += 1
    assert counts == HUB["tensors"]
    picture = torch.empty(2, 6, 224, 224, device="meta")
    assert network.seen([picture]).shape == (2, 256, 4096)


def test_greedy_decoding_says_what_one_pass_over_its_words_finds_likeliest(policy, seen):
    network, row = policy.model, seen[:1]
    (words,), pictures = policy.words(row), policy.pictures(row)
    ids = network.generate(pictures, [words], 4)[0]
    (said,) = network.embedded([torch.cat([words, ids])])
    whole = torch.cat([said[:1], network.seen(pictures)[0], said[1:]])[None]
    with torch.no_grad():
        logits = network.language_model(inputs_embeds=whole, use_cache=False).logits
    assert torch.equal(logits[0, -5:-1].argmax(-1), ids)
    assert len(set(ids.tolist())) > 1


def test_a_later_token_reaches_no_earlier_one(policy, seen):
    with policy.record("vlm.2.resid_post") as plain:
        policy.infer(seen[:1])
    last = ZeroAblate(at=("vlm.0.resid_pre",), tokens=("prompt.closing",), calls=(0,))
    with policy.intervene(last), policy.record("vlm.2.resid_post") as cut:
        policy.infer(seen[:1])
    before, after = (c["vlm.2.resid_post"][0].rows[0] for c in (plain, cut))
    start = policy.token_spans(seen[:1])["vlm"][0]["prompt.closing"].start
    assert torch.equal(before[:start], after[:start])
    assert not torch.allclose(before[start:], after[start:])


def test_a_batch_of_three_is_three_batches_of_one(policy, seen):
    assert len({len(words) for words in policy.words(seen)}) > 1
    with policy.record("vlm.*.resid_post") as together:
        actions = policy.infer(seen).actions
    for i, one in enumerate(seen):
        with policy.record("vlm.*.resid_post") as alone:
            assert np.array_equal(policy.infer([one]).actions[0], actions[i])
        for point in alone:
            for mine, ours in zip(alone[point], together[point], strict=True):
                real = ours.rows[i][-len(mine.rows[0]) :]
                torch.testing.assert_close(real, mine.rows[0], rtol=1e-4, atol=1e-4)


def test_branches_add_up_to_the_stream(policy, seen):
    points = [p for p in policy.hook_points() if p.layer is not None]
    with policy.record([str(p) for p in points]) as cache:
        policy.infer(seen[:2])
    for pathway in policy.info.pathways:
        for layer in range(pathway.n_layers):
            at = {s: cache[f"{pathway.name}.{layer}.{s}"] for s in BLOCK_SITES}
            for call in range(pathway.calls_per_chunk):
                rows = {site: torch.stack(list(at[site][call].rows)) for site in at}
                torch.testing.assert_close(rows["resid_pre"] + rows["attn_out"], rows["resid_mid"])
                torch.testing.assert_close(rows["resid_mid"] + rows["mlp_out"], rows["resid_post"])


def test_the_last_live_streams_are_what_the_next_part_reads(policy, seen):
    read = {}
    taps = {"projector": "projector", "norm": "language_model.model.norm"}
    handles = [
        h
        for name, module in taps.items()
        for h in InputTap(module).attach(policy.model, lambda v, n=name: read.setdefault(n, v) * 1)
    ]
    with policy.record(["*.1.resid_post", "vlm.2.*"]) as cache:
        policy.infer(seen[:1])
    for handle in handles:
        handle.remove()
    dino = cache.stack("vision.1.resid_post")[0, 0][5:]
    siglip = cache.stack("vision_fused.1.resid_post")[0, 0]
    assert torch.equal(read["projector"][0], torch.cat([dino, siglip], dim=1))
    first = cache["vlm.2.resid_post"][0].rows[0]
    assert torch.equal(read["norm"][0], first)
    neurons = cache["vlm.2.mlp_act"][0].rows[0]
    written_by_neurons = cache["vlm.2.mlp_out"][0].rows[0]
    torch.testing.assert_close(neurons @ policy.value_vectors(2), written_by_neurons)


def test_spans_follow_the_prompt_and_then_each_said_token(policy, seen):
    tokenizer = policy.release.prompter.tokenizer
    rows = [seen[0], replace(seen[1], instruction="")]
    for row, spans in zip(rows, policy.token_spans(rows)["vlm"], strict=True):
        ids = policy.words([row])[0].tolist()
        padding = spans["padding"].stop if "padding" in spans else 0
        patches = policy.model.vision_backbone.n_patches
        own = [
            tokenizer.decode(ids[spans[name].start - padding - patches :][: _length(spans[name])])
            for name in spans
            if name not in ("padding", "bos", "image.corner2")
        ]
        assert "".join(own).startswith("In: What action should the robot take to")
        if row.instruction:
            assert own[1].strip() == row.instruction
        assert own[-1].startswith("?\nOut:")
        assert len(spans["image.corner2"].indices(spans.n_tokens)) == 3
        assert _length(spans["image.corner2"]) == patches
        assert spans.n_tokens == padding + len(ids) + patches
    assert dict(policy.token_spans(rows, call=2)["vlm"][1]) == {"action": slice(0, 1)}


def _length(span):
    return span.stop - span.start


def test_numbers_are_those_of_the_published_arithmetic(policy, seen):
    ids = torch.tensor([639, 638, 385, 384, 7])  # the vocabulary's end is 640; 7 is no action
    bins = np.linspace(-1, 1, 256)
    centres = (bins[:-1] + bins[1:]) / 2
    wanted = centres[np.clip(640 - ids.numpy() - 1, 0, len(centres) - 1)]
    assert np.array_equal(detokenised(ids, 640, 256).numpy(), wanted)
    assert wanted[0] == centres[0]
    assert wanted[2] == wanted[3] == wanted[4] == centres[-1]
    _, names = policy.unembedding()
    assert names[639] == "<action -0.996>"
    assert names[384] == names[385] == "<action +0.996>"

    said = policy.model.generate(policy.pictures(seen), policy.words(seen), 4)
    scaled = centres[np.clip(640 - said.numpy() - 1, 0, len(centres) - 1)]
    statistics = policy.release.statistics["action"]
    low, high = np.array(statistics["q01"]), np.array(statistics["q99"])
    actions = np.where(statistics["mask"], 0.5 * (scaled + 1) * (high - low) + low, scaled)
    actions[:, -1] = -np.sign(2 * actions[:, -1] - 1)
    assert np.array_equal(policy.infer(seen).actions[:, 0], actions.astype(np.float32))


def test_attention_is_read_without_changing_anything_and_written_where_asked(policy, seen):
    plain = policy.infer(seen).actions
    with policy.record("*.attn_probs") as cache:
        assert np.array_equal(policy.infer(seen).actions, plain)
    probabilities = cache["vlm.1.attn_probs"]
    assert [p.rows[0].shape[1:] for p in probabilities[:2]] == [(61, 61), (1, 62)]
    assert torch.equal(probabilities[0].rows[0].triu(1), torch.zeros(4, 61, 61))
    padding = policy.token_spans(seen)["vlm"][1]["padding"]
    assert probabilities[1].rows[1][..., padding].abs().max() == 0
    sites = ["vision.0.attn_out", "vision_fused.0.attn_out", "vlm.1.attn_out"]
    with policy.record(sites) as before:
        policy.infer(seen)
    with policy.intervene(Identity(at=("*.attn_probs",))), policy.record(sites) as after:
        policy.infer(seen)
    for point in before:
        for one, other in zip(before[point], after[point], strict=True):
            for a, b in zip(one.rows, other.rows, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    with (
        policy.intervene(ZeroAblate(at=("vlm.0.attn_probs",))),
        policy.record("vlm.0.attn_out") as c,
    ):
        policy.infer(seen[:1])
    assert c["vlm.0.attn_out"][0].rows[0].abs().max() == 0


def test_a_missing_picture_is_refused_before_the_network_runs(policy, seen):
    with pytest.raises(ValueError, match="'corner2'"), policy.record("*") as cache:
        policy.infer([replace(seen[0], images={})])
    assert not any(cache[p] for p in cache)


def test_padding_is_seen_by_itself_alone():
    padded = Padded.of([torch.ones(2, 3), torch.ones(4, 3)])
    assert padded.real.tolist() == [[False, False, True, True], [True] * 4]
    assert padded.positions.tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
    free, causal = padded.mask(causal=False)[:, 0], padded.mask(causal=True)[:, 0]
    assert free[1].all()
    assert torch.equal(causal[1], torch.ones(4, 4).tril().bool())
    assert free[0].int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
