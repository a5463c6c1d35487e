"""The TinyVLA network: vision → projector → vlm → flow-matching action expert."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from vlascope_adapters.tinyvla.blocks import Context, Stack, hide
from vlascope_adapters.tinyvla.config import NetworkConfig

__all__ = ["Encoded", "TinyVLA"]

_TIME_WAVES = 32


@dataclass(frozen=True, eq=False)
class Encoded:
    """What the vlm makes of an observation.

    Attributes:
        tokens: float (batch, image + words + 1, width): image, instruction, state, after the
            final norm.
        stream: the same before the final norm, where value vectors add up.
        image: (batch, image tokens, width), what the projector hands to the vlm.
        hidden: (batch, 1, 1, tokens), very negative at padding, else 0.
    """

    tokens: Float[Tensor, "b s d"]
    stream: Float[Tensor, "b s d"]
    image: Float[Tensor, "b i d"]
    hidden: Float[Tensor, "b 1 1 s"]


class PatchStem(nn.Module):
    """Convolutions that turn each 12x12 px patch (and its surroundings) into one token.

    They see where each pixel is beside its colour (Liu et al. 2018, "CoordConv", arXiv:1807.03247):
    without that, attention has to find out first which token is where, and small things are not
    located for thousands of steps.
    """

    def __init__(self, channels: tuple[int, int], width: int) -> None:
        super().__init__()
        first, second = channels
        self.layers = nn.Sequential(
            nn.Conv2d(5, first, 6, 3, 2),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(second, width, 3, 2, 1),
        )

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t d"]:
        """Pixels in -1..1 to tokens in row-major order."""
        seen = torch.cat([pixels, _coordinates(pixels)], 1)
        seen = seen.contiguous(memory_format=torch.channels_last)
        return self.layers(seen).flatten(2).transpose(1, 2)


class TinyVLA(nn.Module):
    """A vision-language-action policy with the anatomy of the big ones, for one CPU core."""

    def __init__(self, config: NetworkConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        c, width = config, config.width
        self.stem = PatchStem(c.stem, c.vision_width)
        self.patch_position = _positions(c.image_tokens, c.vision_width)
        self.vision = Stack(
            c.vision_layers, c.vision_width, c.heads, c.neurons_per_width * c.vision_width
        )
        self.projector = nn.Sequential(
            nn.LayerNorm(c.vision_width), nn.Linear(c.vision_width, width)
        )
        self.words = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.words.weight, std=0.05)
        self.word_position = _positions(c.words, width)
        self.state_encoder = nn.Sequential(
            nn.Linear(c.state_dim, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        neurons = c.neurons_per_width * width
        self.vlm = Stack(c.vlm_layers, width, c.heads, neurons)
        self.vlm_norm = nn.LayerNorm(width)
        self.action_encoder = nn.Linear(c.action_dim, width)
        self.action_position = _positions(c.horizon, width)
        self.time_encoder = nn.Sequential(
            nn.Linear(2 * _TIME_WAVES, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        self.expert = Stack(c.expert_layers, width, c.heads, neurons, context_width=width)
        self.expert_norm = nn.LayerNorm(width)
        self.action_head = nn.Linear(width, c.action_dim)

    def encode(
        self,
        pictures: UInt8[Tensor, "b h w 3"] | Float[Tensor, "b h w 3"],
        words: Int[Tensor, "b n"],
        state: Float[Tensor, "b n"],
    ) -> Encoded:
        """Run vision and vlm.

        Args:
            pictures: cropped, 0..255.
            words: vocabulary indices, 0 for padding.
            state: normalised.
        """
        pixels = pictures.permute(0, 3, 1, 2).to(self.patch_position.dtype) / 127.5 - 1
        image = self.projector(self.vision(self.stem(pixels) + self.patch_position))
        text = self.words(words) + self.word_position
        robot = self.state_encoder(state[:, None])
        always = torch.ones(len(words), 1, dtype=torch.bool, device=words.device)
        hidden = hide(torch.cat([always.expand(-1, image.shape[1]), words > 0, always], 1))
        stream = self.vlm(torch.cat([image, text, robot.to(image.dtype)], 1), hidden)
        return Encoded(self.vlm_norm(stream), stream, image, hidden)

    def contexts(self, encoded: Encoded) -> tuple[list[Context], Float[Tensor, "b 1 1 s"]]:
        """Keys and values of the vlm's tokens for every expert layer, and the mask of all keys."""
        own = encoded.hidden.new_zeros(len(encoded.hidden), 1, 1, self.config.horizon)
        return self.expert.read_context(encoded.tokens), torch.cat([encoded.hidden, own], -1)

    def denoise(
        self,
        noisy: Float[Tensor, "b t a"],
        time: Float[Tensor, " b"],
        contexts: Sequence[Context],
        hidden: Float[Tensor, "b 1 1 s"],
    ) -> Float[Tensor, "b t a"]:
        """One expert call: the clean actions that `noisy` at `time` (0 noise, 1 clean) hides."""
        tokens = self.action_encoder(noisy) + self.action_position
        tokens = tokens + self.time_encoder(_waves(time).to(noisy.dtype))[:, None]
        return self.action_head(self.expert_norm(self.expert(tokens, hidden, contexts)))

    def act(self, encoded: Encoded, noise: Float[Tensor, "b t a"]) -> Float[Tensor, "b t a"]:
        """Carry `noise` to actions in `denoise_steps` Euler steps along the learned flow.

        The expert predicts the clean action `a`; on the straight path x_t = (1-t)·noise + t·a the
        velocity is (a - x_t) / (1 - t) (rectified flow, Liu et al. 2022, arXiv:2209.03003).
        """
        contexts, hidden = self.contexts(encoded)
        steps, x = self.config.denoise_steps, noise
        for step in range(steps):
            time = torch.full((len(x),), step / steps, device=x.device)
            clean = self.denoise(x, time, contexts, hidden)
            x = x + (clean - x) / (steps - step)
        return x


def _positions(tokens: int, width: int) -> nn.Parameter:
    return nn.Parameter(0.02 * torch.randn(1, tokens, width))


def _coordinates(pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 h w"]:
    """Row and column of each pixel, from -1 to 1."""
    batch, _, height, width = pixels.shape
    rows = torch.linspace(-1, 1, height, device=pixels.device, dtype=pixels.dtype)
    columns = torch.linspace(-1, 1, width, device=pixels.device, dtype=pixels.dtype)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(batch, -1, -1, -1)


def _waves(time: Float[Tensor, " b"]) -> Float[Tensor, "b w"]:
    """Sines and cosines of time at wavelengths from 2π/1000 to 2π."""
    powers = torch.arange(_TIME_WAVES, device=time.device) / (_TIME_WAVES - 1)
    angles = time[:, None] * 1000 * torch.exp(-math.log(1000) * powers)
    return torch.cat([angles.sin(), angles.cos()], 1)
