"""TinyVLA's adapter: what it says of its tokens is true, and it acts the same however batched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vlascope.hooks import HookPoint
from vlascope.noise import generator_for
from vlascope.types import Observation
from vlascope_adapters.tinyvla.adapter import TinyVLAAdapter
from vlascope_adapters.tinyvla.tokenizer import MASK, PAD, UNKNOWN, WordTokenizer


@pytest.fixture(scope="module")
def policy() -> TinyVLAAdapter:
    return TinyVLAAdapter.tiny(0)


def generators(count: int) -> list[torch.Generator]:
    return [generator_for(7, i) for i in range(count)]


class TestTokenizer:
    tokenizer = WordTokenizer.of(["Open the drawer!", "push the button"], length=4)

    def test_case_and_punctuation_do_not_matter(self):
        assert self.tokenizer.encode("OPEN, the drawer.") == self.tokenizer.encode(
            "open the drawer"
        )

    def test_pads_at_the_end_and_cuts_what_is_too_long(self):
        assert self.tokenizer.encode("open the")[2:] == [PAD, PAD]
        assert len(self.tokenizer.encode("push the button and open the drawer")) == 4

    def test_a_word_never_heard_is_unknown(self):
        assert self.tokenizer.encode("open sesame")[1] == UNKNOWN

    def test_an_empty_instruction_is_all_padding(self):
        assert self.tokenizer.encode("") == [PAD] * 4

    def test_decodes_what_it_encoded(self):
        assert self.tokenizer.decode(self.tokenizer.encode("open the drawer")) == "open the drawer"

    def test_a_vocabulary_starts_with_the_special_tokens(self):
        assert self.tokenizer.vocabulary[MASK] == "<mask>"
        with pytest.raises(ValueError, match="starts with"):
            WordTokenizer(("open", "the"), 4)


class TestSpans:
    def test_padding_depends_on_the_instruction(self, policy):
        rows = [
            replace(policy.example_observation(), instruction=text)
            for text in ("", "open the drawer", "open " * 50)
        ]
        spans = policy.token_spans(rows)["vlm"]
        length = policy.card.network.words
        assert [s.n_tokens for s in spans] == [policy.card.network.image_tokens + length + 1] * 3
        assert "instruction" not in spans[0]
        assert spans[1]["padding"] == slice(spans[1]["instruction"].stop, spans[1]["state"].start)
        assert "padding" not in spans[2]
        assert spans[2]["instruction"].stop - spans[2]["instruction"].start == length

    @pytest.mark.parametrize("pathway", ["vision", "vlm", "expert"])
    def test_cover_what_is_computed(self, policy, pathway):
        rows = [policy.example_observation(i) for i in range(2)]
        point = f"{pathway}.0.resid_post"
        with policy.record(point) as cache:
            policy.infer(rows)
        tokens = cache.stack(point).shape[2]
        assert [s.n_tokens for s in policy.token_spans(rows)[pathway]] == [tokens] * 2

    def test_padding_is_attended_to_by_nobody(self, policy):
        row = replace(policy.example_observation(), instruction="open the drawer")
        padding = policy.token_spans([row])["vlm"][0]["padding"]
        with policy.record(["vlm.*.attn_probs", "expert.*.attn_probs"]) as cache:
            policy.infer([row])
        for point in cache:
            assert all(float(c.rows[0][..., padding].max()) == 0 for c in cache[point])


class TestActing:
    def test_a_batch_gives_what_single_rows_give(self, policy):
        texts = ("open the drawer", "", "push the button")
        rows = [
            replace(policy.example_observation(i), instruction=text) for i, text in enumerate(texts)
        ]
        together = policy.infer(rows, generators=generators(3)).actions
        for i, row in enumerate(rows):
            alone = policy.infer([row], generators=[generator_for(7, i)]).actions[0]
            np.testing.assert_allclose(alone, together[i], atol=1e-5)

    def test_equal_generators_give_equal_actions_to_the_bit(self, policy):
        rows = [policy.example_observation()]
        first = policy.infer(rows, generators=generators(1)).actions
        assert np.array_equal(first, policy.infer(rows, generators=generators(1)).actions)

    def test_equal_seeds_make_equal_tiny_policies(self):
        hashes = [TinyVLAAdapter.tiny(seed).info.checkpoint_hash for seed in (3, 3, 4)]
        assert hashes[0] == hashes[1] != hashes[2]

    def test_making_a_tiny_policy_leaves_the_global_generator_alone(self):
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        TinyVLAAdapter.tiny(0)
        assert torch.equal(torch.rand(1), expected)

    def test_a_picture_of_another_size_is_refused_with_the_fix(self, policy):
        row = policy.example_observation()
        small = Observation(
            row.instruction, {"corner2": np.zeros((48, 48, 3), np.uint8)}, row.state
        )
        with pytest.raises(ValueError, match="create the benchmark with"):
            policy.infer([small])

    def test_gradients_reach_every_pathway(self, policy):
        found = {}
        points = ("vision.0.resid_post", "vlm.0.resid_post", "expert.0.resid_post")
        handles = []
        for name in points:

            def keep(value: torch.Tensor, name: str = name) -> torch.Tensor:
                leaf = value.detach().requires_grad_() if name.startswith("vision") else value
                leaf.retain_grad()
                found[name] = leaf
                return leaf

            handles.extend(policy.tap(HookPoint.parse(name)).attach(policy.model, keep))
        try:
            rows = [policy.example_observation()]
            policy.differentiable_actions(rows, generators=generators(1)).sum().backward()
        finally:
            for handle in handles:
                handle.remove()
        assert all(float(found[name].grad.abs().sum()) > 0 for name in points)


class TestLanguage:
    def test_unembedding_is_the_embedding(self, policy):
        matrix, words = policy.unembedding()
        assert matrix.shape == (len(words), policy.info.pathway("vlm").width)
        assert matrix.data_ptr() == policy.model.words.weight.data_ptr()

    def test_value_vectors_add_up_to_what_the_layer_writes(self, policy):
        with policy.record(["vlm.0.mlp_act", "vlm.0.mlp_out"]) as cache:
            policy.infer([policy.example_observation()])
        neurons, written = cache.stack("vlm.0.mlp_act"), cache.stack("vlm.0.mlp_out")
        bias = policy.model.vlm.blocks[0].feed_forward.down.bias
        torch.testing.assert_close(neurons @ policy.value_vectors(0) + bias, written)
