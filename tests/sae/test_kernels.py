"""Sparse kernels: exact gradients, and the numbers that dense matmuls give."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from vlascope_sae.architectures.jumprelu import jump, open_gates
from vlascope_sae.architectures.topk import TopK, TopKConfig
from vlascope_sae.kernels import (
    Support,
    gather_encode,
    largest_of_batch,
    prefer_dense,
    sparse_decode,
)


def normal(*shape: int, seed: int = 0, grad: bool = True) -> torch.Tensor:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=made, dtype=torch.float64).requires_grad_(grad)


def even() -> Support:
    return Support.of_rows(torch.tensor([[0, 3], [3, 5], [1, 0], [5, 2]]), 7)


def ragged() -> Support:
    mask = torch.zeros(4, 7, dtype=torch.bool)
    mask[0, [1, 4, 6]] = True
    mask[2, 0] = mask[3, 4] = True
    return Support.of_mask(mask)


supports = pytest.mark.parametrize("support", [even(), ragged()], ids=["even", "ragged"])


@supports
def test_decoding_has_the_gradient_of_its_formula(support: Support) -> None:
    values = normal(len(support.indices), seed=1)
    assert gradcheck(lambda v, w: sparse_decode(v, w, support), (values, normal(7, 5)))


@supports
def test_encoding_at_a_support_has_the_gradient_of_its_formula(support: Support) -> None:
    inputs = (normal(4, 5), normal(5, 7, seed=1), normal(7, seed=2))
    assert gradcheck(lambda x, w, b: gather_encode(x, w, b, support), inputs)


@supports
def test_sparse_and_dense_arithmetic_agree(support: Support) -> None:
    x, encoder, bias = normal(4, 5), normal(5, 7, seed=1), normal(7, seed=2)
    values = gather_encode(x, encoder, bias, support)
    torch.testing.assert_close(values, (x @ encoder + bias)[support.rows, support.indices])
    z = torch.zeros(4, 7, dtype=torch.float64)
    z[support.rows, support.indices] = values.detach()
    decoder = normal(7, 5, seed=3)
    torch.testing.assert_close(sparse_decode(values, decoder, support), z @ decoder)


def test_a_group_of_latents_keeps_its_entries_in_their_rows() -> None:
    chosen, group = ragged().between(4, 7)
    assert chosen.tolist() == [1, 2, 4]
    assert group.indices.tolist() == [0, 2, 0]
    assert group.rows.tolist() == [0, 0, 3]
    assert group.offsets.tolist() == [0, 2, 2, 2]


@pytest.mark.parametrize("ties", [False, True])
def test_the_largest_of_a_batch_are_what_sorting_everything_gives(ties: bool) -> None:
    pre = normal(200, 64, grad=False)
    pre = pre.round() if ties else pre
    support, values = largest_of_batch(pre, 3)
    wanted = pre.reshape(-1).sort(descending=True).values[:600]
    torch.testing.assert_close(values.sort(descending=True).values, wanted)
    torch.testing.assert_close(pre[support.rows, support.indices], values)
    assert bool((support.rows.diff() >= 0).all())
    counts = torch.bincount(support.rows, minlength=200)
    torch.testing.assert_close(support.offsets, counts.cumsum(0) - counts)


def gradients(sae: TopK, x: torch.Tensor) -> list[torch.Tensor]:
    sae.zero_grad()
    sae.step(x).loss.backward()
    return [
        p.grad.clone() for p in (sae.W_enc, sae.W_dec, sae.b_enc, sae.b_dec) if p.grad is not None
    ]


def test_a_whole_step_has_the_same_gradients_dense_and_sparse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sae = TopK(TopKConfig(d_in=12, d_sae=64, k=3)).double()
    x = normal(50, 12, grad=False) + 2
    sae.initialise(x)
    assert not prefer_dense(64, 3, x.device)
    sparse = gradients(sae, x)
    monkeypatch.setattr("vlascope_sae.architectures.topk.prefer_dense", lambda *_: True)
    dense = gradients(sae, x)
    assert len(sparse) == len(dense) == 4
    for one, other in zip(sparse, dense, strict=True):
        torch.testing.assert_close(one, other)


def test_the_gradient_of_the_encoder_is_laid_out_as_the_encoder_is() -> None:
    sae = TopK(TopKConfig(d_in=12, d_sae=64, k=3))
    gradients(sae, torch.randn(50, 12))
    assert sae.W_enc.grad is not None
    assert sae.W_enc.grad.stride() == sae.W_enc.stride() == (1, 12)


def test_bf16_chooses_who_fires_and_leaves_the_values_exact() -> None:
    x = normal(64, 32, grad=False).float()
    exact = TopK(TopKConfig(d_in=32, d_sae=256, k=8))
    rough = TopK(TopKConfig(d_in=32, d_sae=256, k=8, precision="bf16"))
    values, support = rough.fire(x)
    pre = exact.preactivations(x)
    torch.testing.assert_close(values, pre[support.rows, support.indices].relu())
    chosen, _ = exact.fire(x)
    assert values.sum() > 0.99 * chosen.sum()


def test_an_expert_with_few_latents_per_firing_uses_dense_matmuls() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert prefer_dense(256, 64, cpu)
    assert not prefer_dense(4096, 32, cpu)
    assert prefer_dense(4096, 32, gpu)
    assert not prefer_dense(65536, 64, gpu)


def test_thresholds_learn_by_the_published_estimators() -> None:
    """Rectangle kernel: only pre-activations within half a bandwidth count (eqs. 11 and 12)."""
    pre = torch.tensor([[0.30], [0.45], [0.60], [2.0]], dtype=torch.float64)
    threshold = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    width = torch.tensor(0.3, dtype=torch.float64)
    assert jump(pre, threshold, width).flatten().tolist() == [0, 0, 0.6, 2.0]
    (moved,) = torch.autograd.grad(jump(pre, threshold, width).sum(), threshold)
    torch.testing.assert_close(moved.item(), -2 * 0.5 / 0.3)
    (counted,) = torch.autograd.grad(open_gates(pre, threshold, width).sum(), threshold)
    torch.testing.assert_close(counted.item(), -2 / 0.3)
