"""OpenVLA-OFT (Kim et al. 2025, arXiv:2502.19645): a whole chunk of actions in one pass.

The published code needs a fork of transformers 4.40.1 whose one change is that every token attends
to every other; here a mask says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlascope_adapters.openvla.architecture import Architecture
from vlascope_adapters.openvla.network import OpenVLA, Padded

__all__ = ["FiLMBlock", "OFTSizes", "OpenVLAOFT"]


@dataclass(frozen=True)
class OFTSizes:
    """What a fine-tuned OFT adds to OpenVLA; `config.json` says nothing of it.

    Attributes:
        horizon: actions in a chunk.
        action_dim: numbers in an action.
        state_dim: numbers in the robot's state.
        film: whether the instruction modulates the vision towers.
    """

    horizon: int
    action_dim: int
    state_dim: int
    film: bool = False


class OpenVLAOFT(OpenVLA):
    """OpenVLA with the state as a token, and a regression head in place of the vocabulary."""

    def __init__(self, architecture: Architecture, sizes: OFTSizes) -> None:
        super().__init__(architecture)
        width = architecture.llama.hidden_size
        self.sizes, self.film = sizes, sizes.film
        self.proprio_projector = ProprioProjector(sizes.state_dim, width)
        self.action_head = L1RegressionHead(sizes.action_dim, width)
        if self.film:
            for tower in self.vision_backbone.towers.values():
                tower.blocks = nn.Sequential(
                    *(FiLMBlock(block, tower.embed_dim, width) for block in tower.blocks)
                )

    def act(
        self,
        pictures: Sequence[Tensor],
        words: Sequence[Tensor],
        state: Tensor,
        stop: int,
    ) -> Tensor:
        """Normalised actions, (batch, horizon, action_dim).

        Args:
            pictures: one per camera, (batch, 6, size, size).
            words: each row's ids, the first of them <s>.
            state: normalised, (batch, state_dim).
            stop: the id of </s>, which ends the sequence.
        """
        ends = words[0].new_tensor([stop])
        said = self.embedded([torch.cat([row, ends]) for row in words])
        if self.film:
            self._condition(torch.stack([row.mean(0) for row in said]))
        state_token = self.proprio_projector(state)[:, None]
        images = torch.cat([self.seen(pictures), state_token], dim=1)
        slots = images.new_zeros(self.sizes.horizon * self.sizes.action_dim, images.shape[2])
        given = Padded.of(
            [
                torch.cat([row[:1], image, row[1:-1], slots, row[-1:]])
                for row, image in zip(said, images, strict=True)
            ]
        )
        stream = self.language_model.model(
            inputs_embeds=given.embeddings,
            attention_mask=given.mask(causal=False),
            position_ids=given.positions,
            use_cache=False,
        ).last_hidden_state
        # Each slot's action is read from the token before it, as a language model predicts.
        return self.action_head(stream[:, -len(slots) - 2 : -2])

    def _condition(self, language: Tensor) -> None:
        """Tell every block of the towers what the words are on average, (batch, width)."""
        for tower in self.vision_backbone.towers.values():
            for block in tower.blocks:
                block.language = language


class ProprioProjector(nn.Module):
    """From the robot's state to one token of the language model."""

    def __init__(self, state_dim: int, width: int) -> None:
        super().__init__()
        self.fc1, self.act_fn1 = nn.Linear(state_dim, width), nn.GELU()
        self.fc2 = nn.Linear(width, width)

    def forward(self, state: Tensor) -> Tensor:
        """(batch, state_dim) to (batch, width)."""
        return self.fc2(self.act_fn1(self.fc1(state)))


class L1RegressionHead(nn.Module):
    """From the tokens of one action, side by side, to its numbers."""

    def __init__(self, action_dim: int, width: int) -> None:
        super().__init__()
        self.action_dim = action_dim
        self.model = MLPResNet(2, action_dim * width, width, action_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, horizon x action_dim, width) to (batch, horizon, action_dim)."""
        batch, _, width = tokens.shape
        return self.model(tokens.reshape(batch, -1, self.action_dim * width))


class MLPResNet(nn.Module):
    """A residual stream of its own, one token an action."""

    def __init__(self, n_blocks: int, given: int, width: int, wanted: int) -> None:
        super().__init__()
        self.layer_norm1, self.fc1, self.relu = (
            nn.LayerNorm(given),
            nn.Linear(given, width),
            nn.ReLU(),
        )
        self.mlp_resnet_blocks = nn.ModuleList(MLPResNetBlock(width) for _ in range(n_blocks))
        self.layer_norm2, self.fc2 = nn.LayerNorm(width), nn.Linear(width, wanted)

    def forward(self, given: Tensor) -> Tensor:
        """(batch, horizon, given) to (batch, horizon, wanted)."""
        stream = self.relu(self.fc1(self.layer_norm1(given)))
        for block in self.mlp_resnet_blocks:
            stream = block(stream)
        return self.fc2(self.layer_norm2(stream))


class MLPResNetBlock(nn.Module):
    """One layer whose rectified output is added to the stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, stream: Tensor) -> Tensor:
        """(batch, horizon, width)."""
        return stream + self.ffn(stream)


class FiLMBlock(nn.Module):
    """A vision block whose stream the words scale and shift between attention and MLP.

    Feature-wise linear modulation (Perez et al. 2017, arXiv:1709.07871).
    """

    language: Tensor

    def __init__(self, block: nn.Module, width: int, language_width: int) -> None:
        super().__init__()
        self.block = block
        self.scale = nn.Linear(language_width, width)
        self.shift = nn.Linear(language_width, width)
        self.modulated = nn.Identity()

    def forward(self, stream: Tensor) -> Tensor:
        """(batch, tokens, width)."""
        scale, shift = self.scale(self.language)[:, None], self.shift(self.language)[:, None]
        inner: Any = self.block
        stream = stream + inner.ls1(inner.attn(inner.norm1(stream)))
        stream = self.modulated(stream * (1 + scale) + shift)
        return stream + inner.ls2(inner.mlp(inner.norm2(stream)))
