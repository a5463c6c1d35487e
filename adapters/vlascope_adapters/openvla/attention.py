"""Attention probabilities where the network computes none.

Both towers and the Llama attend in one fused kernel. A tap computes the probabilities beside it
from the same inputs: what the network computes stays what it was, bit for bit. Where an edit
replaces them, the branch goes on with the values mixed by the new probabilities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from vlascope.taps import Edit

__all__ = ["LlamaAttention", "ViTAttention"]


@dataclass(frozen=True)
class _Probabilities(ABC):
    """Attention probabilities, (batch, heads, queries, keys).

    Attributes:
        module: dotted path of the attention module.
    """

    module: str

    @abstractmethod
    def compute(self, attention: Any, args: Any, kwargs: Any) -> tuple[Tensor, Tensor]:
        """Probabilities, and the values (batch, heads, keys, head width) that they mix."""

    @abstractmethod
    def projection(self, attention: Any) -> nn.Module:
        """The module that takes the mixed values, heads side by side."""

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Hook the module's input, and its output projection's to put the mixed values in."""
        attention: Any = model.get_submodule(self.module)
        mixed: list[Tensor] = []

        def hook(_module: nn.Module, args: Any, kwargs: Any) -> None:
            mixed.clear()
            probabilities, values = self.compute(attention, args, kwargs)
            new = edit(probabilities)
            if new is not None:
                mixed.append((new.to(values.dtype) @ values).transpose(1, 2).flatten(2))

        def put(_module: nn.Module, args: tuple[Any, ...]) -> Any:
            return (mixed.pop(), *args[1:]) if mixed else None

        return [
            attention.register_forward_pre_hook(hook, with_kwargs=True),
            self.projection(attention).register_forward_pre_hook(put),
        ]


class ViTAttention(_Probabilities):
    """Of a block of timm's vision transformer."""

    def compute(self, attention: Any, args: Any, kwargs: Any) -> tuple[Tensor, Tensor]:
        """Every token attends to every token."""
        stream: Tensor = args[0]
        qkv = functional.linear(stream, attention.qkv.weight, attention.qkv.bias)
        shape = (*stream.shape[:2], 3, attention.num_heads, attention.head_dim)
        queries, keys, values = qkv.reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
        return _softmax(queries, keys, attention.scale, None), values

    def projection(self, attention: Any) -> nn.Module:
        """The module that timm calls proj."""
        return attention.proj


class LlamaAttention(_Probabilities):
    """Of a layer of transformers' Llama, with keys and values of earlier calls in front."""

    def compute(self, attention: Any, args: Any, kwargs: Any) -> tuple[Tensor, Tensor]:
        """As the layer's own, from the arguments it is called with."""
        from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, repeat_kv

        queries, keys, values = (
            _heads(kwargs["hidden_states"], projection, attention.head_dim)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        cos, sin = kwargs["position_embeddings"]
        queries, keys = apply_rotary_pos_emb(queries, keys, cos, sin)
        for past_keys, past_values in _remembered(kwargs.get("past_key_values"), attention):
            keys = torch.cat([past_keys, keys], dim=2)
            values = torch.cat([past_values, values], dim=2)
        groups = attention.num_key_value_groups
        keys, values = repeat_kv(keys, groups), repeat_kv(values, groups)
        mask = kwargs.get("attention_mask")
        if mask is None:
            shape = (queries.shape[2], keys.shape[2])
            mask = torch.ones(shape, dtype=torch.bool, device=keys.device)
            mask = mask.tril(shape[1] - shape[0])
        return _softmax(queries, keys, attention.scaling, mask), values

    def projection(self, attention: Any) -> nn.Module:
        """The module that transformers calls o_proj."""
        return attention.o_proj


def _heads(stream: Tensor, projection: Any, width: int) -> Tensor:
    """(batch, heads, tokens, head width); the module itself is not called, so no hook fires."""
    projected = functional.linear(stream, projection.weight, projection.bias)
    return projected.reshape(*stream.shape[:2], -1, width).transpose(1, 2)


def _remembered(cache: Any, attention: Any) -> Sequence[tuple[Tensor, Tensor]]:
    """Keys and values of earlier calls, where there are any."""
    layers = cache.layers if cache is not None else []
    if attention.layer_idx >= len(layers) or not layers[attention.layer_idx].is_initialized:
        return ()
    layer = layers[attention.layer_idx]
    return ((layer.keys, layer.values),)


def _softmax(queries: Tensor, keys: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """In float32, as the fused kernels do it."""
    scores = (queries.float() @ keys.float().transpose(2, 3)) * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1)
