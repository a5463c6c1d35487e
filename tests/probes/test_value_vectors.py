"""FFN neurons in words: projections, shares, clusters, and what holding neurons reaches."""

import pytest
import torch
from scipy.stats import binom

from vlascope import plugins
from vlascope.errors import CapabilityMissing, IncompatibleError, UnknownName, UnusableActivations
from vlascope.interventions.parse import parse_intervention
from vlascope_probes.value_vectors import (
    Vocabulary,
    action_value,
    cluster_strength,
    find_cluster,
    hold_cluster,
    layers_of,
    matched_random,
    project,
    share_of_actions,
    speech_of,
)
from vlascope_probes.value_vectors import projection as streaming

WITH_WORDS = ["toy", "tinyvla", "openvla", "openvla_oft", "smolvla", "pi0"]


@pytest.fixture(scope="module", params=WITH_WORDS)
def policy(request):
    return plugins.adapter_class(request.param).tiny()


@pytest.fixture(scope="module")
def constructed():
    return plugins.adapter_class("toy").from_pretrained("bundled")


def random_words(seed, tokens=30, width=16):
    generator = torch.Generator().manual_seed(seed)
    names = [f"word{i}" for i in range(tokens)]
    return Vocabulary(torch.randn(tokens, width, generator=generator), names), generator


def test_a_projection_is_a_matmul_however_the_vocabulary_is_sliced(policy, monkeypatch):
    monkeypatch.setattr(streaming, "_TOKENS_AT_A_TIME", 7)
    monkeypatch.setattr(streaming, "_NEURONS_AT_A_TIME", 5)
    vocabulary = Vocabulary(*policy.unembedding())
    vectors = policy.value_vectors(0)
    found = project(vectors, vocabulary, k=4)
    expected = (vectors.float() @ vocabulary.matrix.float().T).topk(4)
    torch.testing.assert_close(found.logits, expected.values)
    torch.testing.assert_close(
        (vectors.float() @ vocabulary.matrix.float().T).gather(1, found.tokens), found.logits
    )


def test_shares_of_actions_words_and_marks_sum_to_one(policy):
    for share in share_of_actions(speech_of(policy)):
        assert share.actions + share.words + share.special == pytest.approx(1)
        assert share.neurons + share.silent == len(policy.value_vectors(share.layer))


def test_held_neurons_are_held_at_every_call_and_token(policy):
    speech = speech_of(policy)
    writing = int(speech.layers[0].written.sum())
    cluster = find_cluster(
        speech.layers[:1], speech.vocabulary, speech.vocabulary.matrix[3], size=min(3, writing)
    )
    hold = hold_cluster(cluster, speech.pathway, 2.5)
    edit = parse_intervention(hold.edits()[0])
    calls = policy.info.pathway(speech.pathway).calls_per_chunk
    with policy.intervene(edit), policy.record(f"{speech.pathway}.0.mlp_act") as seen:
        policy.infer([policy.example_observation(0)])
    captures = seen[f"{speech.pathway}.0.mlp_act"]
    assert len(captures) == calls
    for capture in captures:
        assert (capture.rows[0][..., list(hold.neurons[0])] == 2.5).all()


def test_openvla_says_a_token_a_number_and_its_bins_are_values():
    policy = plugins.adapter_class("openvla").tiny()
    vocabulary = Vocabulary(*policy.unembedding())
    assert policy.info.pathway("vlm").calls_per_chunk == policy.info.action.dim
    assert int(vocabulary.action_tokens.sum()) == 256
    values = [action_value(token) for token in vocabulary.tokens]
    assert all(-1 <= value <= 1 for value in values if value is not None)
    assert vocabulary.shown(int(vocabulary.action_tokens.nonzero()[0])).startswith("action ")


def test_the_toy_neuron_of_a_colour_is_found_by_its_word(constructed):
    speech = speech_of(constructed)
    for colour, word in enumerate(("red", "green", "blue")):
        cluster = find_cluster(speech.layers, speech.vocabulary, word, size=2)
        assert cluster.by_layer == {0: (colour,), 3: (colour,)}


def test_holding_what_is_found_sends_the_point_there(constructed):
    world = plugins.benchmark_class("toy")()
    speech = speech_of(constructed)
    early = speech.layers[:2]
    hold = hold_cluster(find_cluster(early, speech.vocabulary, "green", size=1), "vlm", 5.0)
    seen = world.reset("shared/red", seed=3)
    with constructed.intervene(*map(parse_intervention, hold.edits())):
        reached = set()
        for _ in range(60):
            result = world.step(constructed.act(seen))
            reached |= {name for name, true in result.predicates.items() if true}
            seen = world.observe()
            if reached:
                break
    assert reached == {"shared/green"}


def test_a_cluster_that_means_something_beats_every_rotation(constructed):
    speech = speech_of(constructed)
    found = cluster_strength(
        speech.vectors, range(4), speech.vocabulary, "red", size=2, rotations=39
    )
    assert found.p == pytest.approx(1 / 40)


def test_random_value_vectors_give_clusters_at_the_nominal_rate_only():
    found = 0
    for repetition in range(200):
        vocabulary, generator = random_words(repetition, tokens=16, width=8)
        vectors = torch.randn(12, 8, generator=generator)
        strength = cluster_strength(
            lambda layer, v=vectors: v,
            [0],
            vocabulary,
            "word3",
            size=4,
            rotations=19,
            seed=repetition,
        )
        found += strength.p <= 0.05
    assert found <= binom.ppf(0.999, 200, 0.05)
    assert found >= binom.ppf(0.001, 200, 0.05)


def test_random_neurons_are_as_many_and_write_as_much():
    vocabulary, generator = random_words(0)
    vectors = torch.randn(40, 16, generator=generator)
    words = [project(vectors, vocabulary)]
    hold = hold_cluster(find_cluster(words, vocabulary, "word5", size=6), "vlm", 4.0)
    other = matched_random(hold, lambda layer: vectors, seed=1)
    assert len(other.neurons[0]) == 6
    assert not set(other.neurons[0]) & set(hold.neurons[0])
    written = other.written(lambda layer: vectors)
    assert written == pytest.approx(hold.written(lambda layer: vectors), rel=1e-5)


def test_depths_are_halves():
    assert [list(layers_of(depth, 5)) for depth in ("early", "late", "full")] == [
        [0, 1],
        [2, 3, 4],
        [0, 1, 2, 3, 4],
    ]


def test_what_cannot_be_read_says_why(constructed):
    speech = speech_of(constructed)
    with pytest.raises(UnknownName, match="did you mean 'red'"):
        find_cluster(speech.layers, speech.vocabulary, "redd", size=1)
    with pytest.raises(UnusableActivations, match="6 write anything"):
        find_cluster(speech.layers, speech.vocabulary, "red", size=7)
    with pytest.raises(IncompatibleError, match="width"):
        project(torch.zeros(3, 5), speech.vocabulary)
    with pytest.raises(CapabilityMissing, match="unembedding"):
        speech_of(plugins.adapter_class("act").tiny())
