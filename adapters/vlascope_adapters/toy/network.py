"""The toy policy's network: vision → projector → vlm → denoising action expert.

Ordinary transformer blocks with one attention head and ReLU neurons. There is
no normalisation, so that what the constructed weights do is exact.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

__all__ = ["CALLS", "HORIZON", "MAX_WORDS", "PATCH", "PATCHES", "ToyNetwork"]

PATCH, PATCHES = 4, 16
"""Side of a patch in pixels, and how many there are (4 x 4, row by row)."""
MAX_WORDS = 10
HORIZON = 4
CALLS = 4
"""Denoise steps per chunk."""
VISION_WIDTH, VLM_WIDTH, EXPERT_WIDTH = 64, 128, 32
VISION_LAYERS, VLM_LAYERS, EXPERT_LAYERS = 2, 4, 2
VISION_FFN, VLM_FFN, EXPERT_FFN = 48, 16, 8
_HEAD = 8
_STEP = 0.6


class Attention(nn.Module):
    """One head; softmax(q k), the weights set the temperature. May read a second stream."""

    def __init__(self, width: int, context_width: int = 0) -> None:
        super().__init__()
        self.query = nn.Linear(width, _HEAD)
        self.key = nn.Linear(width, _HEAD)
        self.value = nn.Linear(width, _HEAD)
        self.out = nn.Linear(_HEAD, width)
        self.probs = nn.Identity()
        if context_width:
            self.context_key = nn.Linear(context_width, _HEAD)
            self.context_value = nn.Linear(context_width, _HEAD)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        hidden: Bool[Tensor, "b k"] | None,
        context: Float[Tensor, "b s c"] | None,
    ) -> Float[Tensor, "b t d"]:
        key, value = self.key(x), self.value(x)
        if context is not None:
            key = torch.cat([self.context_key(context), key], 1)
            value = torch.cat([self.context_value(context), value], 1)
        scores = self.query(x) @ key.transpose(1, 2)
        if hidden is not None:
            scores = scores.masked_fill(hidden[:, None], -1e4)
        probs = self.probs(scores.softmax(-1)[:, None])
        return self.out(probs[:, 0] @ value)


class Feedforward(nn.Module):
    """down(relu(up(x))): neuron i writes its value vector, column i of `down`."""

    def __init__(self, width: int, neurons: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, neurons)
        self.act = nn.ReLU()
        self.down = nn.Linear(neurons, width)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return self.down(self.act(self.up(x)))


class Block(nn.Module):
    """x + attention(x), then + mlp of that."""

    def __init__(self, width: int, neurons: int, context_width: int = 0) -> None:
        super().__init__()
        self.attention = Attention(width, context_width)
        self.mid = nn.Identity()
        self.mlp = Feedforward(width, neurons)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        hidden: Bool[Tensor, "b k"] | None = None,
        context: Float[Tensor, "b s c"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        mid = self.mid(x + self.attention(x, hidden, context))
        return mid + self.mlp(mid)


class ToyNetwork(nn.Module):
    """See `vlascope_adapters.toy.adapter` for what each part is built to do."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.pixels = nn.Linear(3 * PATCH * PATCH, VISION_WIDTH)
        self.patch_position = nn.Parameter(torch.zeros(PATCHES, VISION_WIDTH))
        self.vision = nn.ModuleList(Block(VISION_WIDTH, VISION_FFN) for _ in range(VISION_LAYERS))
        self.projector = nn.Linear(VISION_WIDTH, VLM_WIDTH)
        self.words = nn.Embedding(vocabulary, VLM_WIDTH)
        self.state = nn.Linear(2, VLM_WIDTH)
        self.soft_prompt = nn.Parameter(torch.zeros(1, VLM_WIDTH))
        self.vlm = nn.ModuleList(Block(VLM_WIDTH, VLM_FFN) for _ in range(VLM_LAYERS))
        self.noisy = nn.Linear(2, EXPERT_WIDTH)
        self.time = nn.Linear(1, EXPERT_WIDTH)
        self.expert = nn.ModuleList(
            Block(EXPERT_WIDTH, EXPERT_FFN, VLM_WIDTH) for _ in range(EXPERT_LAYERS)
        )
        self.velocity = nn.Linear(EXPERT_WIDTH, 2)

    def forward(
        self,
        picture: Float[Tensor, "b 16 16 3"],
        words: Int[Tensor, "b n"],
        state: Float[Tensor, "b 2"],
        noise: Float[Tensor, "b h 2"],
    ) -> Float[Tensor, "b h 2"]:
        """Actions in m/s from a picture in 0..1, word indices (0 is padding), metres, noise."""
        context, hidden = self.encode(picture, words, state)
        own = hidden.new_zeros(len(hidden), noise.shape[1])
        everything = torch.cat([hidden, own], 1)
        x = noise
        for call in range(CALLS):
            tokens = self.noisy(x) + self.time(x.new_full((1,), call / CALLS))
            for block in self.expert:
                tokens = block(tokens, everything, context)
            x = x + _STEP * self.velocity(tokens)
        return x

    def encode(
        self,
        picture: Float[Tensor, "b 16 16 3"],
        words: Int[Tensor, "b n"],
        state: Float[Tensor, "b 2"],
    ) -> tuple[Float[Tensor, "b s d"], Bool[Tensor, "b s"]]:
        """What the expert reads: the stream *entering* the last vlm block, and what is padding."""
        image = self.pixels(_patches(picture)) + self.patch_position
        for block in self.vision:
            image = block(image)
        rows = len(words)
        text, robot = self.words(words), self.state(state)[:, None]
        prompt = self.soft_prompt.expand(rows, -1, -1)
        tokens = torch.cat([self.projector(image), text, robot, prompt], 1)
        padding = words == 0
        hidden = torch.cat(
            [padding.new_zeros(rows, PATCHES), padding, padding.new_zeros(rows, 2)], 1
        )
        context = tokens
        for block in self.vlm:
            context = tokens
            tokens = block(tokens, hidden)
        return context, hidden


def _patches(picture: Float[Tensor, "b 16 16 3"]) -> Float[Tensor, "b 16 48"]:
    """Patches row by row, each (row, column, channel) flattened."""
    side = picture.shape[1] // PATCH
    split = picture.reshape(len(picture), side, PATCH, side, PATCH, 3)
    return split.permute(0, 1, 3, 2, 4, 5).reshape(len(picture), side * side, -1)
