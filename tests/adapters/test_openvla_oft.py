"""OpenVLA-OFT: parallel decoding, two cameras, the state, the head, FiLM."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("transformers")

from vlascope import conformance
from vlascope.conformance.results import run_check
from vlascope.interventions import ZeroAblate
from vlascope.noise import generator_for
from vlascope.recording import capture
from vlascope_adapters.openvla.oft_adapter import OpenVLAOFTAdapter, at_real_size
from vlascope_adapters.robots import ROBOTS

HUB = json.loads(Path(__file__).with_name("openvla_hub_keys.json").read_text())
LIBERO = ROBOTS["libero"].seen_at(96)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "film"])
def policy(request):
    """Two cameras, 7 numbers an action, 8 of state, as LIBERO has them."""
    return OpenVLAOFTAdapter.tiny_for(LIBERO, 1, film=request.param)


@pytest.fixture(scope="module")
def plain():
    return OpenVLAOFTAdapter.tiny_for(LIBERO, 2)


def looks(policy, *seeds):
    return [policy.example_observation(seed) for seed in seeds]


def test_what_fine_tuning_adds_has_the_published_names_and_shapes():
    network = at_real_size()
    for part in ("action_head", "proprio_projector"):
        wanted = {}
        for pattern, shape in HUB[part].items():
            for name in {re.sub(r"\{.*\}", str(i), pattern) for i in range(2)}:
                wanted[name] = tuple(shape)
        state = network.get_submodule(part).state_dict()
        assert {name: tuple(t.shape) for name, t in state.items()} == wanted
    sizes = {name: sum(p.numel() for p in m.parameters()) for name, m in network.named_children()}
    assert (
        sizes["vision_backbone"] + sizes["projector"] + sizes["language_model"]
        == (HUB["parameters"])
    )
    assert round(sizes["action_head"] / 1e6) == 151
    assert round(sizes["proprio_projector"] / 1e6) == 17


def test_every_token_attends_to_every_other(policy):
    seen = looks(policy, 0)
    end = ZeroAblate(at=("vlm.0.resid_pre",), tokens=("stop",))
    with policy.record("vlm.0.resid_post") as before:
        policy.infer(seen)
    with policy.intervene(end), policy.record("vlm.0.resid_post") as after:
        policy.infer(seen)
    change = (before.stack("vlm.0.resid_post") - after.stack("vlm.0.resid_post")).abs()
    assert (change[0, 0].amax(dim=1) > 0).all()
    with policy.record("vlm.0.attn_probs") as attention:
        policy.infer(seen)
    assert (attention["vlm.0.attn_probs"][0].rows[0] > 0).all()


def test_the_language_model_starts_with_what_its_spans_say(policy):
    seen = looks(policy, 0, 1)
    with policy.record(["vlm.0.resid_pre", "vision.projector", "vlm.state_encoder"]) as cache:
        policy.infer(seen)
    first, projected = cache["vlm.0.resid_pre"][0], cache["vision.projector"]
    for row, spans in enumerate(policy.token_spans(seen)["vlm"]):
        tokens = first.rows[row]
        for call, camera in enumerate(("agentview", "wrist")):
            assert torch.equal(tokens[spans[f"image.{camera}"]], projected[call].rows[row])
            assert list(projected[call].firing.spans[row]) == [f"image.{camera}"]
        assert torch.equal(tokens[spans["state"]], cache["vlm.state_encoder"][0].rows[row])
        assert tokens[spans["action"]].shape == (56, 48)
        assert tokens[spans["action"]].abs().max() == 0
        table = policy.model.language_model.get_input_embeddings().weight
        assert torch.equal(tokens[spans["stop"]][0], table[policy.release.prompter.stop])
        assert ("padding" in spans) == (row == 1)
    assert list(policy.token_spans(seen, call=1)["vision"][0]) == [
        "class",
        "register",
        "image.wrist",
    ]


def test_a_batch_of_three_is_three_batches_of_one(policy):
    seen = looks(policy, 0, 1, 2)
    assert len({len(words) for words in policy.words(seen)}) > 1
    together = policy.infer(seen).actions
    alone = np.concatenate([policy.infer([one]).actions for one in seen])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_branches_add_up_to_the_stream(policy):
    film = policy.model.film
    points = [str(p) for p in policy.hook_points() if p.layer is not None]
    with policy.record(points) as cache:
        policy.infer(looks(policy, 0))
    for pathway in policy.info.pathways:
        for layer in range(pathway.n_layers):
            at = {n: cache.stack(n) for n in points if n.startswith(f"{pathway.name}.{layer}.")}
            pre, attn, mid, mlp, post = (
                at.get(f"{pathway.name}.{layer}.{site}")
                for site in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
            )
            if pathway.name == "head":
                torch.testing.assert_close(pre + mlp, post)
                continue
            torch.testing.assert_close(mid + mlp, post)
            if not (film and pathway.name.startswith("vision")):
                torch.testing.assert_close(pre + attn, mid)
                continue
            tower = policy.model.vision_backbone.towers[
                "featurizer" if pathway.name == "vision" else "fused_featurizer"
            ]
            block = tower.blocks[layer]
            scaled = (pre + attn) * (1 + block.scale(block.language)) + block.shift(block.language)
            torch.testing.assert_close(mid, scaled)


def test_film_takes_the_average_of_each_rows_own_words():
    policy = OpenVLAOFTAdapter.tiny_for(LIBERO, 1, film=True)
    seen = looks(policy, 0, 1)
    policy.infer(seen)
    language = policy.model.vision_backbone.featurizer.blocks[0].language
    table = policy.model.language_model.get_input_embeddings().weight
    for row, words in enumerate(policy.words(seen)):
        stop = words.new_tensor([policy.release.prompter.stop])
        torch.testing.assert_close(language[row], table[torch.cat([words, stop])].mean(0))


def test_the_head_reads_each_number_from_the_token_before_its_slot(plain):
    seen = looks(plain, 0)
    with plain.record(["vlm.final_norm", "head.0.resid_pre"]) as cache:
        plain.infer(seen)
    start = plain.token_spans(seen)["vlm"][0]["action"].start
    read = cache.stack("vlm.final_norm")[0, 0, start - 1 : start - 1 + 56]
    head = plain.model.action_head.model
    first = head.relu(head.fc1(head.layer_norm1(read.reshape(8, 7 * 48))))
    torch.testing.assert_close(cache.stack("head.0.resid_pre")[0, 0], first)


def test_numbers_are_those_of_the_published_arithmetic(plain):
    seen = looks(plain, 3)
    statistics, state = plain.release.statistics, LIBERO.state_vector(seen[0])
    low, high = (np.array(statistics["proprio"][n]) for n in ("q01", "q99"))
    scaled = np.clip(2 * (state - low) / (high - low + 1e-8) - 1, -1, 1)
    got = plain.bounds["proprio"].scaled(torch.from_numpy(state))
    assert np.array_equal(got.numpy(), scaled)
    with plain.record("head.action_head") as cache:
        actions = plain.infer(seen).actions[0]
    said = cache.stack("head.action_head")[0, 0].numpy()
    low, high = (np.array(statistics["action"][n]) for n in ("q01", "q99"))
    mask = np.array(statistics["action"]["mask"])
    wanted = np.where(mask, 0.5 * (said + 1) * (high - low + 1e-8) + low, said)
    wanted[:, -1] = -np.sign(2 * wanted[:, -1] - 1)
    assert np.array_equal(actions, wanted.astype(np.float32))


def test_gradients_are_those_of_a_small_change(plain):
    seen, point = looks(plain, 1), "vlm.1.resid_post"
    leaf = capture(plain, seen, point).stack(point)[0].clone().requires_grad_()
    step = torch.randn(leaf.shape, generator=generator_for(2)) * 1e-4
    tap = plain.tap(plain.match(point)[0])

    def actions(value):
        handles = tap.attach(plain.model, lambda _: value)
        try:
            chunk = plain.differentiable_actions(seen, generators=[generator_for(0)])
            return chunk[..., :6].double().sum()
        finally:
            for handle in handles:
                handle.remove()

    (gradient,) = torch.autograd.grad(actions(leaf), leaf)
    with torch.no_grad():
        change = actions(leaf + step) - actions(leaf - step)
    torch.testing.assert_close(change, 2 * (gradient.double() * step).sum(), rtol=2e-2, atol=1e-5)


class Modulated(OpenVLAOFTAdapter):
    """The tiny policy of the checks, with two cameras and FiLM."""

    expected_failures: ClassVar[dict[str, str]] = {}

    @classmethod
    def tiny(cls, seed=0):
        return cls.tiny_for(LIBERO, seed, film=True)


CHECKS = [c for c in conformance.ADAPTER_CHECKS if "torch" not in c.code]


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.code)
def test_two_cameras_and_film_keep_the_promises_too(check, subject):
    result = run_check(check, subject, None)
    assert result.ok, result.message


@pytest.fixture(scope="module")
def subject():
    return conformance.AdapterSubject(Modulated)
