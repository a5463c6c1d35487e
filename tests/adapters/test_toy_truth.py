"""The toy policy does what its docstring says: the truths that engines are checked against."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vlascope.hooks import HookPoint, Moment
from vlascope.interventions import Clamp, Inject, RandomDirection, ZeroAblate
from vlascope.noise import generator_for
from vlascope.specs import check_compatible
from vlascope_adapters.toy.adapter import ToyAdapter
from vlascope_adapters.toy.weights import COLOURS
from vlascope_benchmarks.toy.env import ToyBenchmark

SEED = 3
LIVE_EXPERT = ("expert.0.resid_post", "expert.1.resid_post")


@pytest.fixture(scope="module")
def policy():
    return ToyAdapter.from_pretrained()


@pytest.fixture(scope="module")
def world():
    return ToyBenchmark()


@pytest.fixture(scope="module")
def to_red(policy, world):
    """Everything recorded on the way to the red goal of the shared scene."""
    with policy.record("*") as cache:
        actions, _ = play(policy, world, "shared/red")
    return cache, actions


def play(policy, world, task, *, seed=SEED, prompt=None):
    """One whole episode: its actions, and the tasks whose goal was reached."""
    world.reset(task, seed=seed)
    taken, reached = [], set()
    for chunk in range(world.info.max_steps // policy.info.executed_steps):
        seen = world.observe()
        seen = seen if prompt is None else replace(seen, instruction=prompt)
        step = chunk * policy.info.executed_steps
        moment, noise = Moment("episode", step, chunk), generator_for(seed, chunk)
        actions = policy.infer([seen], generators=[noise], moments=[moment]).actions[0]
        for action in actions[: policy.info.executed_steps]:
            result = world.step(action)
            taken.append(action)
            reached |= {name for name, holds in result.predicates.items() if holds}
    return np.array(taken), reached


def test_the_policy_fits_the_benchmark(policy, world):
    check_compatible(policy.info, world.info)


@pytest.mark.parametrize("task", [t.name for t in ToyBenchmark.tasks()])
def test_it_succeeds_whatever_the_noise(policy, world, task):
    assert all(play(policy, world, task, seed=s)[1] == {task} for s in range(5))


@pytest.mark.parametrize("task", ToyBenchmark.tasks(), ids=lambda t: t.name)
def test_paraphrases_mean_the_same(policy, world, task):
    for prompt in task.paraphrases:
        assert play(policy, world, task.name, prompt=prompt)[1] == {task.name}


@pytest.mark.parametrize("prompt", ["", "go to the green point", "sing"])
def test_in_a_unique_scene_the_prompt_decides_nothing(policy, world, prompt):
    told, _ = play(policy, world, "unique/red")
    other, reached = play(policy, world, "unique/red", prompt=prompt)
    assert reached == {"unique/red"}
    np.testing.assert_allclose(other, told, atol=1e-5)


def test_in_the_shared_scene_the_prompt_decides_everything(policy, world):
    for colour in COLOURS:
        prompt = f"go to the {colour} point"
        assert play(policy, world, "shared/red", prompt=prompt)[1] == {f"shared/{colour}"}
    assert play(policy, world, "shared/red", prompt="")[1] == set()


def test_shared_tasks_of_one_seed_start_alike(world):
    pictures = [world.reset(f"shared/{c}", seed=SEED).images["top"] for c in COLOURS]
    assert all(np.array_equal(p, pictures[0]) for p in pictures)


def test_without_its_words_it_fails_in_the_shared_scene_alone(policy, world):
    ablate = ZeroAblate(at="vlm.0.resid_post", tokens="instruction")
    with policy.intervene(ablate):
        assert play(policy, world, "unique/blue")[1] == {"unique/blue"}
        assert play(policy, world, "shared/blue")[1] == set()


CARRY = {
    ("vlm.1.resid_post", "soft_prompt"): "red",
    ("vlm.2.resid_post", "soft_prompt"): "red",
    ("vlm.0.resid_post", "instruction"): "red",
    ("vlm.0.resid_post", "soft_prompt"): "blue",
    ("vlm.1.resid_post", "instruction"): "blue",
    ("vlm.2.resid_post", "instruction"): "blue",
    ("vlm.*.resid_post", "image.*"): "blue",
    ("vision.*.resid_post", "image.*"): "blue",
    ("vlm.3.*", "*"): "blue",
}


@pytest.mark.parametrize(("place", "colour"), CARRY.items(), ids=str)
def test_where_an_injection_redirects_the_point(policy, world, to_red, place, colour):
    at, tokens = place
    with policy.intervene(Inject(at=at, tokens=tokens, source=to_red[0])):
        assert play(policy, world, "shared/blue")[1] == {f"shared/{colour}"}


@pytest.mark.parametrize("at", ["vlm.1.resid_post", "vlm.2.resid_post"])
def test_a_random_direction_of_equal_norm_redirects_nothing(policy, world, to_red, at):
    inject = Inject(at=at, tokens="soft_prompt", source=to_red[0])
    with policy.intervene(RandomDirection(at=at, tokens="soft_prompt", like=inject)) as editing:
        assert play(policy, world, "shared/blue")[1] <= {"shared/blue"}
    assert editing.receipts[0].dx_ratio_mean > 0.1


@pytest.mark.parametrize("at", LIVE_EXPERT)
def test_an_injected_expert_replays_the_other_actions(policy, world, to_red, at):
    with policy.intervene(Inject(at=at, source=to_red[0])):
        actions, reached = play(policy, world, "shared/blue")
    assert reached == {"shared/red"}
    np.testing.assert_allclose(actions, to_red[1], atol=1e-5)


@pytest.mark.parametrize("neuron", range(3))
def test_a_clamped_word_neuron_sends_the_point_to_its_colour(policy, world, neuron):
    with policy.intervene(Clamp(at="vlm.0.mlp_act", neurons=(neuron,), value=5)):
        for told in ("red", "blue"):
            assert play(policy, world, f"shared/{told}")[1] == {f"shared/{COLOURS[neuron]}"}


def test_value_vectors_unembed_to_their_colours_word(policy):
    embedding, words = policy.unembedding()
    scores = policy.value_vectors(0)[:3] @ embedding.T
    assert [words[i] for i in scores.argmax(1)] == list(COLOURS)


def test_a_dead_layer_knows_the_asked_colour(policy, world, to_red):
    embedding, words = policy.unembedding()
    point = HookPoint.parse("vlm.3.mlp_out")
    assert point in policy.dead_points()
    said = to_red[0].stack(point)[0, 0, -1] @ embedding.T
    assert words[int(said.argmax())] == "red"


def test_noise_is_contracted(policy, world):
    seen = world.reset("shared/red", seed=SEED)
    chunks = [policy.infer([seen], generators=[generator_for(s)]).actions for s in range(20)]
    assert 0.01 < np.std(chunks, axis=0).mean() < 0.05
