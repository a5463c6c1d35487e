"""Encoding and decoding where only the latents that fired cost anything, with exact gradients.

A support says which latents fired in which row. Values at the support are gathered dot products,
decoding is a weighted sum of decoder rows, and the gradient of a weight row is a weighted sum over
the samples in which its latent fired: each of the three is one `embedding_bag` kernel. Nothing
here asks the device for a number on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

__all__ = [
    "Precision",
    "Support",
    "gather_encode",
    "preactivations",
    "prefer_dense",
    "sparse_decode",
]

Precision = Literal["full", "bf16"]
_DENSE_BELOW_ON_CPU = 5
_DENSE_BELOW_ON_GPU = 230


def prefer_dense(d_sae: int, k: int, device: torch.device) -> bool:
    """Whether dense matmuls beat sparse kernels at this many latents per firing.

    Tensor cores make a dense multiply-add far cheaper than a gathered one; a CPU does not.
    """
    limit = _DENSE_BELOW_ON_CPU if device.type == "cpu" else _DENSE_BELOW_ON_GPU
    return d_sae < limit * k


@dataclass(frozen=True, eq=False)
class Support:
    """Which latents fired, row after row.

    Attributes:
        indices: latents that fired in the first row, then in the second, ...
        offsets: where each row starts in `indices`.
        rows: the row of each entry of `indices`.
        d_sae: number of latents.
    """

    indices: Int[Tensor, " fired"]
    offsets: Int[Tensor, " rows"]
    rows: Int[Tensor, " fired"]
    d_sae: int

    @classmethod
    def of_rows(cls, indices: Int[Tensor, "rows k"], d_sae: int) -> Support:
        """The same number of latents in every row."""
        rows, k = indices.shape
        number = torch.arange(rows, device=indices.device)
        return cls(indices.reshape(-1), number * k, number.repeat_interleave(k), d_sae)

    @classmethod
    def of_mask(cls, mask: Tensor) -> Support:
        """The latents where a bool (rows, d_sae) is true; waits for the device."""
        rows, indices = mask.nonzero(as_tuple=True)
        counts = mask.sum(1)
        return cls(indices, counts.cumsum(0) - counts, rows, mask.shape[1])

    @cached_property
    def by_latent(self) -> tuple[Tensor, Tensor]:
        """Entries sorted by latent, and where each latent starts among them."""
        # int32 keys sort faster, and d_sae is far below their limit
        ordered, order = self.indices.to(torch.int32).sort()
        latents = torch.arange(self.d_sae, device=ordered.device, dtype=torch.int32)
        return order, torch.searchsorted(ordered, latents)

    def sum_by_latent(
        self, x: Float[Tensor, "rows d"], weights: Float[Tensor, " fired"]
    ) -> Float[Tensor, "f d"]:
        """For each latent the weighted sum of the rows in which it fired."""
        order, starts = self.by_latent
        return functional.embedding_bag(
            self.rows[order], x, starts, mode="sum", per_sample_weights=weights[order]
        )

    def sum_by_row(
        self, weight: Float[Tensor, "f d"], values: Float[Tensor, " fired"]
    ) -> Float[Tensor, "rows d"]:
        """For each row the weighted sum of the weights of the latents that fired."""
        return functional.embedding_bag(
            self.indices, weight, self.offsets, mode="sum", per_sample_weights=values
        )

    def dots(
        self, x: Float[Tensor, "rows d"], weight: Float[Tensor, "f d"]
    ) -> Float[Tensor, " fired"]:
        """x[row] . weight[latent] of every entry."""
        kernel = torch.ops.aten._embedding_bag_per_sample_weights_backward
        return kernel(
            x.contiguous(), weight.contiguous(), self.indices, self.offsets, self.rows, 0, -1
        )

    def between(self, start: int, end: int) -> tuple[Tensor, Support]:
        """Which entries are of latents start..end, and their support; waits for the device."""
        chosen = ((self.indices >= start) & (self.indices < end)).nonzero()[:, 0]
        rows = self.rows[chosen]
        numbers = torch.arange(len(self.offsets), device=rows.device)
        offsets = torch.searchsorted(rows, numbers)
        return chosen, Support(self.indices[chosen] - start, offsets, rows, end - start)

    def counts(self, weights: Float[Tensor, " fired"]) -> Float[Tensor, " f"]:
        """For each latent the sum of its entries' weights."""
        return weights.new_zeros(self.d_sae).scatter_add(0, self.indices, weights)


def preactivations(
    x: Float[Tensor, "rows d"],
    weight: Float[Tensor, "d f"],
    bias: Float[Tensor, " f"],
    precision: Precision = "full",
) -> Float[Tensor, "rows f"]:
    """W x + b for every row; at bf16 the matmul is rounded, which is enough to choose who fires."""
    if precision == "full":
        return torch.addmm(bias, x, weight)
    return torch.addmm(bias.bfloat16(), x.bfloat16(), weight.bfloat16())


def largest_of_batch(
    pre: Float[Tensor, "rows f"], k: int
) -> tuple[Support, Float[Tensor, " fired"]]:
    """The k * rows largest numbers of a batch and where they are, in order of rows.

    On a CPU a bound that a sample of the rows suggests leaves few candidates to choose from.
    """
    wanted = k * len(pre)
    flat = pre.reshape(-1)
    candidates = _above_a_bound(pre, wanted) if pre.device.type == "cpu" else None
    if candidates is None:
        chosen = flat.topk(wanted, sorted=False).indices
    else:
        chosen = candidates[flat[candidates].topk(wanted, sorted=False).indices]
    chosen = chosen.sort().values
    rows = chosen // pre.shape[1]
    numbers = torch.arange(len(pre), device=pre.device)
    support = Support(
        chosen - rows * pre.shape[1], torch.searchsorted(rows, numbers), rows, pre.shape[1]
    )
    return support, flat[chosen]


def _above_a_bound(pre: Tensor, wanted: int) -> Tensor | None:
    """Places of more than `wanted` numbers, among them the largest; None where a guess failed."""
    sample = pre[:: max(len(pre) // 64, 1)].reshape(-1).float()
    share = min(1.5 * wanted / pre.numel(), 1.0)
    bound = sample.kthvalue(max(int(sample.numel() * (1 - share)), 1)).values
    above = (pre.reshape(-1) >= bound).nonzero()[:, 0]
    return above if len(above) >= wanted else None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        support: Support,
        known: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.support = support
        if known is not None:
            return known.clone()
        return support.dots(x, weight) + bias[support.indices]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        x, weight = ctx.saved_tensors
        support: Support = ctx.support
        wanted = ctx.needs_input_grad
        return (
            support.sum_by_row(weight, grad) if wanted[0] else None,
            support.sum_by_latent(x, grad) if wanted[1] else None,
            support.counts(grad) if wanted[2] else None,
            None,
            None,
        )


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, support: Support) -> Tensor:
        ctx.save_for_backward(values, weight)
        ctx.support = support
        return support.sum_by_row(weight, values)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        values, weight = ctx.saved_tensors
        support: Support = ctx.support
        wanted = ctx.needs_input_grad
        return (
            support.dots(grad, weight) if wanted[0] else None,
            support.sum_by_latent(grad, values) if wanted[1] else None,
            None,
        )


_gather: Callable[..., Tensor] = _Gather.apply
_decode: Callable[..., Tensor] = _Decode.apply


def gather_encode(
    x: Float[Tensor, "rows d"],
    weight: Float[Tensor, "d f"],
    bias: Float[Tensor, " f"],
    support: Support,
    known: Float[Tensor, " fired"] | None = None,
) -> Float[Tensor, " fired"]:
    """Pre-activations at a support only; `known` are the same numbers if already computed."""
    return _gather(x, weight.T, bias, support, known)


def sparse_decode(
    values: Float[Tensor, " fired"], weight: Float[Tensor, "f d"], support: Support
) -> Float[Tensor, "rows d"]:
    """The sum of decoder rows, each times its latent's value."""
    return _decode(values, weight, support)
