"""Reaching into GR00T: packed pictures, attention probabilities, the noise, the padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from threading import RLock, get_ident
from typing import Any

import torch
from lerobot.policies.groot import groot_n1_7
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb, repeat_kv

from vlascope.taps import Edit, Tap

__all__ = [
    "AttentionTap",
    "Packed",
    "dit_attention",
    "drawn",
    "padding_masked",
    "qwen_attention",
    "with_gradients",
]

Attended = Callable[..., tuple[Tensor, Tensor]]
"""Probabilities (batch, heads, queries, keys) and values (batch, heads, keys, head width)."""

_ONE_AT_A_TIME = RLock()


@dataclass(frozen=True)
class Packed:
    """A tap where the tower packs the patches of all pictures of all rows into one sequence.

    Shows the patches of a row's pictures end to end, (batch, tokens, width).

    Attributes:
        tap: shows (patches of all rows, width).
        tower: dotted path of the vision tower, which is told the grid of every picture.
        pictures: how many pictures a row has.
    """

    tap: Tap
    tower: str
    pictures: int

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Hook the tower to learn the number of rows, and the inner tap."""
        rows: list[int] = []

        def count(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
            rows[:] = [len(kwargs["grid_thw"]) // self.pictures]

        def seen(value: Tensor) -> Tensor | None:
            new = edit(value.reshape(rows[0], -1, value.shape[-1]))
            return None if new is None else new.flatten(0, 1)

        tower = model.get_submodule(self.tower)
        return [
            tower.register_forward_pre_hook(count, with_kwargs=True),
            *self.tap.attach(model, seen),
        ]


@dataclass(frozen=True)
class AttentionTap:
    """Attention probabilities, computed a second time beside the fused kernel.

    Reading leaves the kernel's own result as it is; an edit replaces it by edited probabilities
    times values.

    Attributes:
        attention: dotted path of the attention module.
        output: dotted path of its output projection, whose input the heads' outputs are.
        attended: what the module attends to, given the module and its arguments.
    """

    attention: str
    output: str
    attended: Attended

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Hook the module to learn its arguments, and its output projection's input."""
        given: list[Any] = []
        module = model.get_submodule(self.attention)

        def remember(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given[:] = [args, kwargs]

        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor] | None:
            probabilities, values = self.attended(module, *given[0], **given[1])
            new = edit(probabilities)
            if new is None:
                return None
            heads = new.to(values) @ values
            return (heads.transpose(1, 2).reshape(args[0].shape).to(args[0]),)

        return [
            module.register_forward_pre_hook(remember, with_kwargs=True),
            model.get_submodule(self.output).register_forward_pre_hook(hook),
        ]


def qwen_attention(
    module: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    **_kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """What a layer of the language model attends to (causal where upstream leaves the mask out)."""
    shape = (*hidden_states.shape[:-1], -1, module.head_dim)
    query = module.q_norm(module.q_proj(hidden_states).view(shape)).transpose(1, 2)
    key = module.k_norm(module.k_proj(hidden_states).view(shape)).transpose(1, 2)
    value = module.v_proj(hidden_states).view(shape).transpose(1, 2)
    query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
    key, value = (repeat_kv(each, module.num_key_value_groups) for each in (key, value))
    if attention_mask is None:
        tokens = query.shape[2]
        attention_mask = torch.ones(tokens, tokens, dtype=torch.bool, device=query.device).tril()
    return _softmax(query, key, attention_mask, module.scaling), value


def dit_attention(
    module: Any,
    hidden_states: Tensor,
    encoder_hidden_states: Tensor | None = None,
    attention_mask: Tensor | None = None,
    **_kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """What a block of the expert or of the stack before it attends to (diffusers' Attention)."""
    source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
    query, key, value = (
        projected.unflatten(-1, (module.heads, -1)).transpose(1, 2)
        for projected in (module.to_q(hidden_states), module.to_k(source), module.to_v(source))
    )
    mask = None if attention_mask is None else attention_mask[:, None, None]
    return _softmax(query, key, mask, query.shape[-1] ** -0.5), value


@contextmanager
def drawn(noise: Tensor) -> Iterator[None]:
    """Let the flow start from `noise`: upstream draws it with `torch.randn` and takes none.

    Only the calling thread is given it; others wait for their turn.
    """
    upstream: Any = groot_n1_7
    with _ONE_AT_A_TIME:
        before = upstream.torch
        upstream.torch = _TorchWithNoise(noise)
        try:
            yield
        finally:
            upstream.torch = before


@contextmanager
def padding_masked(head: Any, mask: Tensor) -> Iterator[None]:
    """Hide padding tokens, False in `mask` (batch, tokens), from attention that forgets to.

    Upstream masks padding in the language model and in the expert's cross-attention, and not in
    the self-attention stack between them (nor in a plain DiT): there, a row would depend on how
    long the other rows' instructions are. Without padding nothing is changed.
    """
    with ExitStack() as stack:
        if not mask.all():
            for block, argument in _unmasked(head):
                give = partial(_with_mask, argument, mask)
                stack.callback(block.register_forward_pre_hook(give, with_kwargs=True).remove)
        yield


@contextmanager
def with_gradients(policy: Any) -> Iterator[None]:
    """Take upstream's `no_grad` off everything between the batch and the actions."""
    head = policy._groot_model.action_head
    closed = [(policy, "predict_action_chunk"), (head, "get_action")]
    closed.append((head, "get_action_with_features"))
    for owner, name in closed:
        setattr(owner, name, partial(getattr(type(owner), name).__wrapped__, owner))
    try:
        yield
    finally:
        for owner, name in closed:
            delattr(owner, name)


class _TorchWithNoise:
    """`torch`, except that one thread's `randn` gives the noise it is told to."""

    def __init__(self, noise: Tensor) -> None:
        self._noise, self._thread = noise, get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def randn(self, *args: Any, **kwargs: Any) -> Tensor:
        if get_ident() != self._thread:
            return torch.randn(*args, **kwargs)
        if tuple(kwargs["size"]) != self._noise.shape:
            raise RuntimeError(f"noise is {tuple(self._noise.shape)}, not {kwargs['size']}")
        return self._noise.to(device=kwargs["device"], dtype=kwargs["dtype"])


def _softmax(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """A query that may see nothing (padding) gets equal shares of everything."""
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1).to(query.dtype)


def _unmasked(head: Any) -> Iterator[tuple[nn.Module, str]]:
    """Blocks to which upstream gives no padding mask, and the argument that takes one."""
    for block in getattr(head.vl_self_attention, "transformer_blocks", ()):
        yield block, "attention_mask"
    if not head.config.use_alternate_vl_dit:
        for block in head.model.transformer_blocks:
            yield block, "encoder_attention_mask"


def _with_mask(
    argument: str, mask: Tensor, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, {**kwargs, argument: mask}
