"""Attention as plain products, for training: on a CPU the fused kernel's backward is slow in bf16.

Names to give to transformers: `PLAIN` for a language model, `PACKED` for a vision tower that packs
all pictures, which are of one size, into one sequence.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

__all__ = ["PACKED", "PLAIN", "plainly"]

PLAIN = "plain"
PACKED = "packed_flash"
"""Transformers gives whole sequences and where pictures end to what has `flash` in its name."""


def plain(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """(batch, heads, tokens, width) to (batch, tokens, heads, width); True in the mask: seen.

    Without a mask a token sees itself and what went before, keys that were kept among it.
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    scores = (query @ key.transpose(2, 3)).float() * scaling
    if attention_mask is None:
        said, known = scores.shape[-2:]
        attention_mask = torch.ones(said, known, dtype=torch.bool).tril(known - said)
    weights = scores.masked_fill(~attention_mask, -1e9).softmax(-1).to(value.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def packed(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float,
    *,
    cu_seq_lens_q: Tensor,
    **_: Any,
) -> tuple[Tensor, None]:
    """(1, heads, tokens of all pictures, width) to (1, tokens, heads, width)."""
    pictures = len(cu_seq_lens_q) - 1
    query, key, value = (
        each[0].reshape(each.shape[1], pictures, -1, each.shape[3]).transpose(0, 1)
        for each in (query, key, value)
    )
    weights = ((query @ key.transpose(2, 3)).float() * scaling).softmax(-1).to(value.dtype)
    return (weights @ value).transpose(1, 2).flatten(0, 1)[None], None


def plainly() -> AbstractContextManager[Any]:
    """Where torch's own `scaled_dot_product_attention` is to be plain products too."""
    return sdpa_kernel(SDPBackend.MATH)


AttentionInterface.register(PLAIN, plain)
AttentionInterface.register(PACKED, packed)
AttentionMaskInterface.register(PLAIN, sdpa_mask)
