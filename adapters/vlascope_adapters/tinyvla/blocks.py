"""Transformer blocks whose intermediate tensors are each the output of a named module.

`resid_pre` is a block's input, `attn_out` the output of `attention`, `resid_mid` of `resid_mid`,
`mlp_act` of `feed_forward.activation`, `mlp_out` of `feed_forward.down`, `resid_post` of the block.
Everything is (batch, tokens, width); nothing is changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = ["Attention", "Block", "Context", "FeedForward", "Stack", "hide"]

Context = tuple[Float[Tensor, "b h s k"], Float[Tensor, "b h s k"]]
"""Keys and values of tokens from another pathway, ready for one layer's attention."""

_HIDDEN = -1e4


class Attention(nn.Module):
    """Multi-head attention over the stream's own tokens and, if given, a context's, in one softmax.

    Written as matmul, softmax, matmul: `probabilities` is a module, so that hooks read what each
    query attends to, (batch, heads, queries, context + own keys).
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.query_key_value = nn.Linear(width, 3 * width)
        self.context_key_value = (
            None if context_width is None else nn.Linear(context_width, 2 * width)
        )
        self.probabilities = nn.Identity()
        self.out = nn.Linear(width, width)

    def read_context(self, context: Float[Tensor, "b s c"]) -> Context:
        """Keys and values of the context's tokens: once per chunk, whatever the calls."""
        if self.context_key_value is None:
            raise TypeError("this attention was made without a context")
        keys, values = self._heads(self.context_key_value(context), 2)
        return keys, values

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        hidden: Float[Tensor, "b 1 1 s"] | None = None,
        context: Context | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Attend; `hidden` is added to the logits of the keys (see `hide`)."""
        queries, keys, values = self._heads(self.query_key_value(x), 3)
        if context is not None:
            keys = torch.cat([context[0], keys], 2)
            values = torch.cat([context[1], values], 2)
        logits = (queries * self.scale) @ keys.transpose(-1, -2)
        if hidden is not None:
            logits = logits + hidden.to(logits.dtype)
        read = self.probabilities(logits.softmax(-1).to(values.dtype)) @ values
        return self.out(read.transpose(1, 2).flatten(2))

    def _heads(self, packed: Tensor, parts: int) -> Sequence[Tensor]:
        batch, tokens, _ = packed.shape
        return packed.view(batch, tokens, parts, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


class FeedForward(nn.Module):
    """Two layers with a nonlinearity; row j of `down.weight.T` is the value vector of neuron j."""

    def __init__(self, width: int, neurons: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, neurons)
        self.activation = nn.ReLU()
        self.down = nn.Linear(neurons, width)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Project up, bend, project down."""
        return self.down(self.activation(self.up(x)))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(
        self, width: int, heads: int, neurons: int, context_width: int | None = None
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, context_width)
        self.resid_mid = nn.Identity()
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, neurons)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        hidden: Float[Tensor, "b 1 1 s"] | None = None,
        context: Context | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Add what attention and then the feed-forward layers write to the residual stream."""
        x = self.resid_mid(x + self.attention(self.attention_norm(x), hidden, context))
        return x + self.feed_forward(self.feed_forward_norm(x))


class Stack(nn.Module):
    """A pathway: blocks in a row."""

    def __init__(
        self, layers: int, width: int, heads: int, neurons: int, context_width: int | None = None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, heads, neurons, context_width) for _ in range(layers)
        )

    def read_context(self, context: Float[Tensor, "b s c"]) -> list[Context]:
        """What each block's attention makes of another pathway's tokens."""
        blocks = (block for block in self.blocks if isinstance(block, Block))
        return [block.attention.read_context(context) for block in blocks]

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        hidden: Float[Tensor, "b 1 1 s"] | None = None,
        contexts: Sequence[Context] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Pass the stream through every block."""
        for layer, block in enumerate(self.blocks):
            x = block(x, hidden, None if contexts is None else contexts[layer])
        return x


def hide(shown: Bool[Tensor, "b s"]) -> Float[Tensor, "b 1 1 s"]:
    """What to add to attention logits so that keys that are not shown get no attention."""
    return (~shown).float().mul(_HIDDEN)[:, None, None]
