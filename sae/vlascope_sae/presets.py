"""The autoencoders of two papers, as published.

DrVLA is arXiv 2603.19183, Action Atlas is arXiv 2603.19233.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vlascope_sae.architectures.topk import TopKConfig

__all__ = ["ActionAtlas", "DrVLA"]


@dataclass(frozen=True)
class DrVLA:
    """DrVLA's autoencoder of activations of width `d`, and how it is trained.

    x -> c = x - b_pre, less its own mean, over its own norm n -> ReLU(TopK(W_enc .)) -> n W_dec z,
    mean and b_pre added back. b_pre is `normalise_in.mean`, learned from the geometric median; no
    other biases.

    Attributes:
        d: width; there are as many latents.
        k: 100 for a vision-language backbone, 64 for an action expert.
        learning_rate: of Adam.
        batch_size: in samples.
        warmup: share of the training over which the learning rate grows.
        clip: of the gradient's norm.
    """

    d: int
    k: int = 100
    seed: int = 0
    learning_rate: float = 1e-4
    batch_size: int = 4096
    warmup: float = 0.1
    clip: float | None = 1.0

    @property
    def training(self) -> dict[str, Any]:
        """What it says of a `TrainingSpec`; no decay of the rate is published."""
        return _training(self)

    @property
    def sae(self) -> TopKConfig:
        """Dead after 500 batches; W_enc starts as W_dec^T sqrt(k / F)."""
        return TopKConfig(
            d_in=self.d,
            d_sae=self.d,
            k=self.k,
            normalise="layer_norm",
            encoder_bias=False,
            decoder_bias=False,
            encoder_scale=(self.k / self.d) ** 0.5,
            aux_weight=1 / 32,
            aux_k=512,
            dead_after=500 * self.batch_size,
            seed=self.seed,
        )


@dataclass(frozen=True)
class ActionAtlas:
    """Action Atlas' autoencoder of activations of width `d`, and how it is trained.

    z-scores per dimension, then the 64 largest signed pre-activations of 8 d latents. The paper
    names no auxiliary loss, batch size, warm-up or clipping.

    Attributes:
        d: width; there are eight times as many latents.
        k: how many fire.
        learning_rate: of Adam.
        batch_size: ours.
        warmup: none.
        clip: none.
    """

    d: int
    k: int = 64
    seed: int = 0
    learning_rate: float = 3e-4
    batch_size: int = 4096
    warmup: float = 0.0
    clip: float | None = None

    @property
    def training(self) -> dict[str, Any]:
        """What it says of a `TrainingSpec`; no decay of the rate is published."""
        return _training(self)

    @property
    def sae(self) -> TopKConfig:
        """Signed TopK on z-scores, no auxiliary loss."""
        return TopKConfig(
            d_in=self.d,
            d_sae=8 * self.d,
            k=self.k,
            signed=True,
            normalise="zscore",
            aux_weight=0.0,
            seed=self.seed,
        )


def _training(preset: DrVLA | ActionAtlas) -> dict[str, Any]:
    return {
        "lr": preset.learning_rate,
        "batch_size": preset.batch_size,
        "warmup": preset.warmup,
        "schedule": "constant",
        "clip": preset.clip,
    }
