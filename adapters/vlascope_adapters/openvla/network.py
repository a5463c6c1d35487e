"""OpenVLA (Kim et al. 2024, arXiv:2406.09246), written anew on timm and transformers 5.

The published code is written for transformers 4.40 and timm 0.9 and does not run on later ones.
Module names are the keys of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM
from transformers.cache_utils import DynamicCache

from vlascope_adapters.openvla.architecture import Architecture

__all__ = ["LayerScale", "OpenVLA", "Padded", "Projector", "VisionBackbone"]


class LayerScale(nn.Module):
    """timm's layer scale under the name that the checkpoints give its parameter."""

    def __init__(self, like: Any) -> None:
        super().__init__()
        self.scale_factor = nn.Parameter(like.gamma.detach().clone())

    def forward(self, stream: Tensor) -> Tensor:
        """Scale each dimension."""
        return stream * self.scale_factor


class VisionBackbone(nn.Module):
    """DINOv2 (`featurizer`) and SigLIP (`fused_featurizer`) side by side.

    What they give is the output of the block before the last, without the final norm and without
    class and register tokens. The last blocks, the final norms and SigLIP's pooling are in the
    checkpoints and decide nothing.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        towers = [
            _tower(name, architecture.image_size, sizes)
            for name, sizes in zip(
                architecture.timm_models, architecture.timm_overrides, strict=True
            )
        ]
        self.featurizer, self.fused_featurizer = towers

    @property
    def towers(self) -> dict[str, Any]:
        """Both, by attribute."""
        return {"featurizer": self.featurizer, "fused_featurizer": self.fused_featurizer}

    @property
    def width(self) -> int:
        """Of a patch's features."""
        return sum(tower.embed_dim for tower in self.towers.values())

    @property
    def n_patches(self) -> int:
        """Tokens a picture turns into."""
        return self.featurizer.patch_embed.num_patches

    def forward(self, picture: Tensor) -> Tensor:
        """A picture in both normalisations, (batch, 6, size, size), to (batch, patches, width)."""
        pairs = zip(self.towers.values(), torch.split(picture, 3, dim=1), strict=True)
        return torch.cat([_features(tower, pixels) for tower, pixels in pairs], dim=2)


class Projector(nn.Module):
    """From patches to the language model's tokens."""

    def __init__(self, vision_width: int, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = (
            nn.Linear(vision_width, 4 * vision_width),
            nn.Linear(4 * vision_width, width),
        )
        self.fc3 = nn.Linear(width, width)

    def forward(self, patches: Tensor) -> Tensor:
        """(batch, patches, vision width) to (batch, patches, width)."""
        return self.fc3(functional.gelu(self.fc2(functional.gelu(self.fc1(patches)))))


@dataclass(frozen=True, eq=False)
class Padded:
    """Sequences of several lengths, padded on the left.

    Attributes:
        embeddings: (batch, tokens, width).
        real: (batch, tokens), false where padding is.
    """

    embeddings: Tensor
    real: Tensor

    @classmethod
    def of(cls, rows: Sequence[Tensor]) -> Self:
        """Rows (tokens, width) made equally long."""
        longest = max(len(row) for row in rows)
        padded = [functional.pad(row, (0, 0, longest - len(row), 0)) for row in rows]
        places = torch.arange(longest, device=rows[0].device)
        real = torch.stack([places >= longest - len(row) for row in rows])
        return cls(torch.stack(padded), real)

    @property
    def positions(self) -> Tensor:
        """Counted from each row's first real token, (batch, tokens)."""
        return (self.real.cumsum(1) - 1).clamp(min=0)

    def mask(self, *, causal: bool) -> Tensor:
        """Who may attend to whom, (batch, 1, queries, keys); padding attends to itself alone."""
        tokens = self.real.shape[1]
        allowed = self.real[:, None, :].expand(-1, tokens, -1)
        own = torch.eye(tokens, dtype=torch.bool, device=self.real.device)
        return ((allowed.tril() if causal else allowed) & self.real[:, :, None] | own)[:, None]


class OpenVLA(nn.Module):
    """Two vision towers, a projector and a Llama that says an action token by token.

    Attributes:
        film: whether the towers' blocks are modulated by the words.
    """

    film = False

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        llama = architecture.llama
        self.architecture = architecture
        self.vision_backbone = VisionBackbone(architecture)
        self.projector = Projector(self.vision_backbone.width, llama.hidden_size)
        self.language_model: Any = LlamaForCausalLM(llama)

    @classmethod
    def without_weights(
        cls, architecture: Architecture, device: str, dtype: torch.dtype, **sizes: Any
    ) -> Self:
        """Built without drawing random weights first; they are to be loaded."""
        with torch.device("meta"):
            network = cls(architecture, **sizes)
        return network.to(dtype).to_empty(device=device)

    def generate(
        self, pictures: Sequence[Tensor], words: Sequence[Tensor], n_tokens: int
    ) -> Tensor:
        """The ids of the likeliest tokens one after the other, (batch, n_tokens).

        Args:
            pictures: one per camera, (batch, 6, size, size).
            words: each row's ids, the first of them <s>.
            n_tokens: how many to say.
        """
        given = Padded.of(
            [
                torch.cat([row[:1], images, row[1:]])
                for row, images in zip(self.embedded(words), self.seen(pictures), strict=True)
            ]
        )
        return torch.stack(list(self._said(given, n_tokens)), dim=1)

    def seen(self, pictures: Sequence[Tensor]) -> Tensor:
        """Each camera's tokens, one camera after the other, (batch, cameras x patches, width)."""
        return torch.cat([self.projector(self.vision_backbone(p)) for p in pictures], dim=1)

    def embedded(self, words: Sequence[Tensor]) -> list[Tensor]:
        """Each row's ids as (tokens, width)."""
        table = self.language_model.get_input_embeddings()
        return list(table(torch.cat(list(words))).split([len(row) for row in words]))

    def _said(self, given: Padded, n_tokens: int) -> Iterator[Tensor]:
        """Ids, (batch,) each; keys and values of what went before are kept."""
        table, cache = self.language_model.get_input_embeddings(), DynamicCache()
        entering, masked = given.embeddings, not bool(given.real.all())
        real, mask, positions = given.real, given.mask(causal=True), given.positions
        for _ in range(n_tokens):
            # Without padding transformers makes the mask itself, as in the published code.
            logits = self.language_model(
                inputs_embeds=entering,
                attention_mask=mask if masked else None,
                position_ids=positions if masked else None,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits
            chosen = logits[:, -1].argmax(-1)
            yield chosen
            entering = table(chosen)[:, None]
            real = functional.pad(real, (0, 1), value=True)
            mask, positions = real[:, None, None], positions[:, -1:] + 1

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert; the frequencies of the position encoding stay what they are, float32.

        In bfloat16 they would be off by up to a part in 256, and positions with them.
        """
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        rotary = self.language_model.model.rotary_emb
        exact, _ = rotary.compute_default_rope_parameters(rotary.config, "cpu")
        where = self.language_model.lm_head.weight.device
        rotary.inv_freq = exact.to(where)
        rotary.original_inv_freq = exact.to(where, copy=True)
        return self


def _tower(name: str, size: int, sizes: Any) -> Any:
    """A vision transformer of timm's, with random weights."""
    tower: Any = timm.create_model(name, pretrained=False, num_classes=0, img_size=size, **sizes)
    for block in tower.blocks:
        for scale in ("ls1", "ls2"):
            if hasattr(getattr(block, scale), "gamma"):
                setattr(block, scale, LayerScale(getattr(block, scale)))
    return tower


def _features(tower: Any, pixels: Tensor) -> Tensor:
    """Patches after the block before the last."""
    return tower.get_intermediate_layers(pixels, n=[len(tower.blocks) - 2])[0]
