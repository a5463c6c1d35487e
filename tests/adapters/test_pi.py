"""pi0 and pi0.5 through lerobot's classes: parity, truth of the hook map, spans, gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS

from vlascope.errors import UnknownName
from vlascope.hooks import BLOCK_SITES, HookPoint
from vlascope.noise import generator_for
from vlascope.recording import capture
from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.pi import Pi0Adapter, Pi05Adapter
from vlascope_adapters.lerobot.pi_prompts import offline_processors, pi05_parts, token_counts
from vlascope_adapters.lerobot.pi_taps import STACKS, TOWER, VLM, GatedTap

MIDDLE = {"vision": "layer_norm2", "vlm": "post_attention_layernorm"}
END = {"vision": f"{TOWER}.post_layernorm", "vlm": f"{VLM}.norm"}
EXPERT = STACKS["expert"].removesuffix(".layers")


@pytest.fixture(scope="module", params=[Pi0Adapter, Pi05Adapter], ids=lambda cls: cls.name)
def policy(request):
    return request.param.tiny(0)


@pytest.fixture(scope="module")
def pi05():
    return Pi05Adapter.tiny(0)


def examples(policy, *seeds):
    return [policy.example_observation(seed) for seed in seeds]


def noises(rows):
    return [generator_for(0, row) for row in range(rows)]


def reads(policy, paths, run):
    """What modules get as their first input while something runs, by name."""
    inputs: dict[str, list[torch.Tensor]] = {name: [] for name in paths}
    handles = [
        policy.model.get_submodule(path).register_forward_pre_hook(
            lambda _module, args, name=name: inputs[name].append(args[0].clone())
        )
        for name, path in paths.items()
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.stack(found) for name, found in inputs.items()}


def test_actions_are_those_of_the_upstream_call_recorded_or_not(policy):
    seen = examples(policy, 0, 1, 2)
    upstream = policy.model.predict_action_chunk(policy.batch(seen), noise=policy.noise(noises(3)))
    wanted = torch.stack([policy.processors.after(step) for step in upstream.unbind(1)], 1)
    plain = policy.infer(seen, generators=noises(3))
    with policy.record(["*", "*.attn_probs"]):
        recorded = policy.infer(seen, generators=noises(3))
    assert np.array_equal(plain.actions, wanted.numpy())
    assert np.array_equal(recorded.actions, wanted.numpy())


def test_three_rows_are_three_batches_of_one(policy):
    seen = [replace(o, instruction="move, " * n) for n, o in enumerate(examples(policy, 0, 1, 2))]
    together = policy.infer(seen, generators=noises(3)).actions
    for row, (observation, noise) in enumerate(zip(seen, noises(3), strict=True)):
        alone = policy.infer([observation], generators=[noise]).actions[0]
        np.testing.assert_allclose(alone, together[row], atol=1e-4)


@pytest.mark.parametrize("pathway", ["vision", "vlm", "expert"])
def test_branches_add_up_to_the_stream_that_upstream_reads(policy, pathway):
    layers = range(policy.info.pathway(pathway).n_layers)
    paths = {"end": END.get(pathway, f"{EXPERT}.norm")}
    for layer in layers:
        middle = MIDDLE.get(pathway, "post_attention_layernorm")
        paths[str(layer)] = f"{STACKS[pathway]}.{layer}.{middle}"
    with policy.record(f"{pathway}.*") as cache:
        read = reads(policy, paths, lambda: policy.infer(examples(policy, 0, 1)))
    for layer in layers:
        at = {site: cache.stack(f"{pathway}.{layer}.{site}") for site in BLOCK_SITES}
        assert torch.equal(at["resid_mid"], read[str(layer)])
        torch.testing.assert_close(at["resid_mid"] - at["resid_pre"], at["attn_out"])
        torch.testing.assert_close(at["resid_post"] - at["resid_mid"], at["mlp_out"])
        if layer:
            assert torch.equal(at["resid_pre"], cache.stack(f"{pathway}.{layer - 1}.resid_post"))
    assert torch.equal(at["resid_post"], read["end"])


@pytest.mark.parametrize("site", ["attn_out", "resid_mid", "mlp_out"])
def test_a_gated_branch_can_be_written_where_its_gate_is_shut(pi05, site):
    norm = "post_attention_layernorm" if site == "mlp_out" else "input_layernorm"
    dense = pi05.model.get_submodule(f"{STACKS['expert']}.0.{norm}").dense
    kept = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    wanted = torch.randn(1, 10, 32, generator=generator_for(1))
    point = HookPoint("expert", 0, site)
    try:
        for tensor in dense.state_dict().values():
            tensor[-32:] = 0  # the gate is the last third
        with pi05.record("expert.0.*") as plain:
            pi05.infer(examples(pi05, 0))
        handles = pi05.tap(point).attach(pi05.model, lambda _: wanted)
        with pi05.record("expert.0.*") as written:
            pi05.infer(examples(pi05, 0))
    finally:
        dense.load_state_dict(kept)
        for handle in handles:
            handle.remove()
    assert isinstance(pi05.tap(point), GatedTap)
    after = "resid_post" if site == "mlp_out" else "resid_mid"
    before = plain.stack(f"expert.0.{'resid_mid' if site == 'mlp_out' else 'resid_pre'}")[0]
    put = wanted if site == "resid_mid" else before + wanted
    torch.testing.assert_close(written.stack(f"expert.0.{after}")[0], put)


def said(policy, observation):
    """What the tokens of each span of a prompt spell."""
    batch = policy.batch([observation])
    ids = batch[OBS_LANGUAGE_TOKENS][0]
    spans = policy.token_spans([observation])["vlm"][0]
    images, tokenizer = spans["image.corner2"].stop, policy._tokenizer_step().input_tokenizer
    assert spans["padding"].start - images == int(batch[OBS_LANGUAGE_ATTENTION_MASK].sum())
    assert spans.n_tokens - images == len(ids)
    return {
        name: tokenizer.decode(ids[spans[name].start - images : spans[name].stop - images])
        for name in spans
        if not name.startswith("image.")
    }


def test_pi0s_prompt_is_the_instruction_and_a_new_line():
    policy = Pi0Adapter.tiny(0)
    seen = replace(policy.example_observation(0), instruction="déjà vu: a big red cup")
    found = said(policy, seen)
    assert set(found.pop("padding").split("<pad>")) == {""}
    assert found == {
        "prompt.start": "<bos>",
        "instruction": "déjà vu: a big red cup",
        "prompt.end": "\n",
    }
    silent = policy.token_spans([replace(seen, instruction="")])["vlm"][0]
    assert list(silent) == ["image.corner2", "prompt.start", "prompt.end", "padding"]


def test_pi05s_state_is_digits_in_the_prompt(pi05):
    seen = replace(pi05.example_observation(0), instruction="say, State: 7")
    found = said(pi05, seen)
    quantiles = tiny.statistics(0)["observation.state"]
    low, high = quantiles["q01"], quantiles["q99"]
    scaled = 2 * (torch.from_numpy(seen.state["proprio"]) - low) / (high - low) - 1
    bins = torch.floor((scaled + 1) * 128).clamp(-1, 255).int().tolist()
    assert set(found.pop("padding").split("<pad>")) == {""}
    assert found == {
        "prompt.start": "<bos>Task: ",
        "instruction": "say, State: 7",
        "prompt.middle": ", State: ",
        "state": " ".join(map(str, bins)),
        "prompt.end": ";\nAction: ",
    }


def test_a_prompt_that_is_cut_and_a_tokenizer_that_tells_nothing_are_still_covered(pi05):
    step = pi05._tokenizer_step()
    prompt = "Task: " + "x" * 200 + ", State: 1 2;\nAction: "
    cut = token_counts(step, prompt, pi05_parts(prompt))
    assert cut["instruction"] == 72 - cut["prompt.start"]
    assert cut["state"] == cut["padding"] == 0

    class Slow:
        max_length, truncation = 72, True
        input_tokenizer = type("", (), {"is_fast": False, "__call__": lambda *_, **__: ids})()

    ids = {"input_ids": [1] * 9}
    assert token_counts(Slow, prompt, pi05_parts(prompt)) == {"prompt": 9, "padding": 63}
    assert list(token_counts(step, "other", pi05_parts("other"))) == [
        "prompt.start",
        "instruction",
        "prompt.end",
        "padding",
    ]


def test_each_row_has_its_own_spans_and_nobody_attends_to_padding(policy):
    seen = [replace(o, instruction="move " * n) for n, o in enumerate(examples(policy, 0, 1), 1)]
    rows = policy.token_spans(seen)["vlm"]
    assert rows[0]["padding"].start < rows[1]["padding"].start
    with policy.record("*.attn_probs") as cache:
        policy.infer(seen)
    for point in cache:
        for captured in cache[point]:
            for row, spans in zip(captured.rows, rows, strict=True):
                queries = slice(None, spans["padding"].start) if point.pathway == "vlm" else ...
                assert not row[:, queries][..., spans["padding"]].any()
                assert row[:, queries][..., spans["instruction"]].all()


def test_the_vlm_starts_with_what_its_spans_say(policy):
    with policy.record(["vlm.0.resid_pre", "vision.projector"]) as cache:
        policy.infer(examples(policy, 3))
    spans = policy.token_spans(examples(policy, 3))["vlm"][0]
    first = cache.stack("vlm.0.resid_pre")[0, 0]
    assert torch.equal(first[spans["image.corner2"]], cache.stack("vision.projector")[0, 0])
    words, names = policy.unembedding()
    tokenizer = policy._tokenizer_step().input_tokenizer
    last = tokenizer.tokenize(policy.batch(examples(policy, 3))["task"][0])[-1]
    scale = words.shape[1] ** 0.5
    assert torch.equal(first[spans["prompt.end"]][-1], words[names.index(last)] * scale)
    assert torch.equal(first[spans["padding"]][0], words[names.index("<pad>")] * scale)
    assert names[-1] == "<unused 383>"


@pytest.mark.parametrize("point", ["vision.0.resid_post", "vlm.1.resid_post", "expert.0.mlp_out"])
def test_gradients_are_those_of_a_small_change(policy, point):
    seen = examples(policy, 1)
    leaf = capture(policy, seen, point).stack(point)[0].clone().requires_grad_()
    step = torch.randn(leaf.shape, generator=generator_for(2)) * 1e-3
    tap, weights = policy.tap(HookPoint.parse(point)), torch.randn(10, 4)

    def actions(value):
        handles = tap.attach(policy.model, lambda _: value)
        try:
            chunk = policy.differentiable_actions(seen, generators=noises(1))
            return (chunk[0] * weights).sum()
        finally:
            for handle in handles:
                handle.remove()

    (gradient,) = torch.autograd.grad(actions(leaf), leaf)
    with torch.no_grad():
        change = actions(leaf + step) - actions(leaf - step)
    torch.testing.assert_close(change / 2, (gradient * step).sum(), rtol=2e-2, atol=1e-5)


def test_differentiable_actions_are_the_actions(policy):
    seen = examples(policy, 0, 1)
    chunk = policy.differentiable_actions(seen, generators=noises(2))
    assert np.array_equal(chunk.numpy(), policy.infer(seen, generators=noises(2)).actions)


def test_value_vectors_are_what_neurons_write(policy):
    with policy.record(["vlm.0.mlp_act", "vlm.0.mlp_out"]) as cache:
        policy.infer(examples(policy, 0))
    written = cache.stack("vlm.0.mlp_act") @ policy.value_vectors(0)
    torch.testing.assert_close(written, cache.stack("vlm.0.mlp_out"))


def test_relative_actions_start_from_each_rows_state(policy):
    config = replace(policy.config, use_relative_actions=True)
    relative = type(policy)(
        policy.model, offline_processors(config, tiny.statistics(0)), tiny.ROBOT, "relative"
    )
    seen = examples(policy, 0, 1, 2)
    moved = relative.infer(seen).actions - policy.infer(seen).actions
    states = np.stack([o.state["proprio"] for o in seen])
    np.testing.assert_allclose(moved, np.broadcast_to(states[:, None], moved.shape), atol=1e-5)


def test_a_point_of_the_other_kind_is_unknown(pi05):
    with pytest.raises(UnknownName, match=r"expert\.time_encoder"):
        pi05.match("expert.state_encoder")
