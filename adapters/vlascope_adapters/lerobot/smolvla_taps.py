"""Reaching into SmolVLA, whose language and expert blocks never run as modules.

Upstream walks both stacks in one loop of its own: it calls a block's norms, projections and MLP,
adds to what they return in place, and computes attention in a plain method.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vlascope.taps import Edit, OutputTap, TokenTap

__all__ = ["AttentionTap", "StreamTap", "branch"]


@dataclass(frozen=True)
class StreamTap:
    """The residual stream as it enters a block, or the norm after the last one.

    The loop hands one tensor to the norm and keeps it for the skip connection, so that an edit is
    written into that tensor: both see it, exactly.

    Attributes:
        norm: dotted path of the norm that reads the stream first.
    """

    norm: str

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Hook the norm's input."""

        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            new = edit(_unshared(args[0]))
            if new is not None:
                args[0].copy_(new)

        return [model.get_submodule(self.norm).register_forward_pre_hook(hook)]


def branch(module: str) -> TokenTap:
    """What a branch adds to the stream; the loop adds the stream to that very tensor.

    An edit's own tensor is therefore copied, or the loop would write into it.
    """
    return TokenTap(OutputTap(module), _unshared, lambda new, _: new.clone())


def _unshared(value: Tensor) -> Tensor:
    """A copy where autograd may keep it: what it kept must not be written into later."""
    return value.clone() if torch.is_grad_enabled() else value


@dataclass(frozen=True)
class AttentionTap:
    """Attention probabilities of one block, (batch, heads, queries, keys).

    Looking computes them a second time beside upstream's own; only an edit makes the block go on
    with ours.

    Attributes:
        loop: dotted path of the module whose methods walk the stacks.
        block: dotted path of the block.
    """

    loop: str
    block: str

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Listen to the loop's attention method."""
        loop: Any = model.get_submodule(self.loop)
        watch = vars(loop).setdefault(_WATCH, None) or _Watch(loop)
        return [watch.listen(model.get_submodule(self.block), edit)]


_WATCH = "_vlascope_watch"
_LAYER_METHODS = ("forward_attn_layer", "forward_cross_attn_layer")


class _Watch:
    """Stands in for the loop's attention methods for as long as somebody listens."""

    def __init__(self, loop: Any) -> None:
        self._loop, self._attend = loop, loop.eager_attention_forward
        self._block: nn.Module | None = None
        self._listeners: OrderedDict[int, tuple[nn.Module, Edit]] = OrderedDict()
        for name in _LAYER_METHODS:
            setattr(loop, name, self._noting_the_block(getattr(loop, name)))
        loop.eager_attention_forward = self._attention
        setattr(loop, _WATCH, self)

    def listen(self, block: nn.Module, edit: Edit) -> RemovableHandle:
        """Show `edit` the probabilities of one block."""
        handle = _Listening(self, self._listeners)
        self._listeners[handle.id] = (block, edit)
        return handle

    def rest(self) -> None:
        """Give the loop its own methods back, unless somebody still listens."""
        if not self._listeners:
            for name in (*_LAYER_METHODS, "eager_attention_forward", _WATCH):
                vars(self._loop).pop(name, None)

    def _noting_the_block(self, upstream: Callable[..., Any]) -> Callable[..., Any]:
        def layer(stacks: Any, streams: Any, index: int, *args: Any, **kwargs: Any) -> Any:
            running = [
                blocks[index] for blocks, s in zip(stacks, streams, strict=True) if s is not None
            ]
            self._block = running[0] if len(running) == 1 else None
            return upstream(stacks, streams, index, *args, **kwargs)

        return layer

    def _attention(
        self, mask: Tensor, batch: int, head_dim: int, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        edits = [edit for block, edit in self._listeners.values() if block is self._block]
        if not edits:
            return self._attend(mask, batch, head_dim, query, key, value)
        probabilities, edited = _probabilities(mask, query, key).to(value.dtype), False
        for edit in edits:
            new = edit(probabilities)
            if new is not None:
                probabilities, edited = new, True
        if not edited:
            return self._attend(mask, batch, head_dim, query, key, value)
        values = _for_each_query_head(value, query).transpose(1, 2)
        return (probabilities.to(value.dtype) @ values).transpose(1, 2).flatten(2)


class _Listening(RemovableHandle):
    """Ends one listener."""

    def __init__(self, watch: _Watch, listeners: OrderedDict[int, tuple[nn.Module, Edit]]) -> None:
        super().__init__(listeners)
        self._watch = watch

    def remove(self) -> None:
        """Stop listening."""
        super().remove()
        self._watch.rest()


def _probabilities(mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """Upstream's own arithmetic: float32, masked with the lowest number; heads lie third."""
    queries = query.float().transpose(1, 2)
    keys = _for_each_query_head(key, query).float().transpose(1, 2)
    scores = queries @ keys.transpose(2, 3) * query.shape[-1] ** -0.5
    return scores.where(mask[:, None], torch.finfo(scores.dtype).min).softmax(-1)


def _for_each_query_head(shared: Tensor, query: Tensor) -> Tensor:
    """Keys or values repeated for the query heads that share them."""
    return shared.repeat_interleave(query.shape[2] // shared.shape[2], dim=2)
