"""Attention whose probabilities can be read and written; the fast kernel while nobody looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

__all__ = ["READABLE", "make_readable"]

READABLE = "vlascope_readable"
"""The name by which transformers' models are told to attend like this."""

_PROBABILITIES = "probabilities"


def make_readable(model: nn.Module) -> None:
    """Give every attention of a network a module that its probabilities pass through."""
    for attention in list(_attentions(model)):
        attention.add_module(_PROBABILITIES, nn.Identity())
        if hasattr(attention, "processor"):
            attention.processor = _Processor(attention.processor)


def _attentions(model: nn.Module) -> Iterator[Any]:
    """Transformers' attentions that take their kernel from the registry, and diffusers'."""
    for module in model.modules():
        own = hasattr(module, "processor") and hasattr(module, "to_q")
        if own or (hasattr(module, "is_causal") and hasattr(module, "q_proj")):
            yield module


def _watched(attention: Any) -> bool:
    return bool(attention.probabilities._forward_hooks)


def _attend(
    attention: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    """softmax(scale q k) v, (batch, heads, tokens, width), with the probabilities on show."""
    scores = scale * query @ key.transpose(-1, -2)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    probabilities = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    return attention.probabilities(probabilities) @ value


def _readable_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **options: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in its attention modules."""
    if not _watched(module):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
    copies = query.shape[1] // key.shape[1]
    key, value = (kv.repeat_interleave(copies, dim=1) for kv in (key, value))
    if attention_mask is None and module.is_causal:
        attention_mask = torch.ones(
            query.shape[2], key.shape[2], dtype=torch.bool, device=query.device
        ).tril()
    out = _attend(module, query, key, value, attention_mask, scaling)
    return out.transpose(1, 2).contiguous(), None


class _Processor:
    """What diffusers calls in its attention modules."""

    def __init__(self, upstream: Any) -> None:
        self.upstream = upstream

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        if not _watched(attn):
            return self.upstream(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            project(tokens).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for project, tokens in (
                (attn.to_q, hidden_states), (attn.to_k, source), (attn.to_v, source),
            )
        )  # fmt: skip
        mask = None if attention_mask is None else attention_mask[:, None, None]
        out = _attend(attn, query, key, value, mask, attn.scale).transpose(1, 2).flatten(2)
        return attn.to_out[0](out)


AttentionInterface.register(READABLE, _readable_attention)
AttentionMaskInterface.register(READABLE, sdpa_mask)
