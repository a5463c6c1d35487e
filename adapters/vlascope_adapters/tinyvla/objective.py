"""What TinyVLA is trained for: the expert's actions, and two lessons that make it look and read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlascope_adapters.tinyvla.batches import Batch
from vlascope_adapters.tinyvla.config import NetworkConfig
from vlascope_adapters.tinyvla.network import Encoded, TinyVLA
from vlascope_adapters.tinyvla.recipe import Schedule
from vlascope_adapters.tinyvla.tokenizer import PAD

__all__ = ["Losses", "PlacesHead", "losses"]


class PlacesHead(nn.Module):
    """Reads places off the vlm's state token; used in training only."""

    def __init__(self, config: NetworkConfig, landmarks: int) -> None:
        super().__init__()
        self.sizes = (3 * (len(config.hindsight) + 1), 3 * landmarks)
        self.layers = nn.Sequential(
            nn.Linear(config.width, config.width),
            nn.ReLU(),
            nn.Linear(config.width, sum(self.sizes)),
        )

    def forward(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Normalised positions of the hand later, (batch, 3 * times), and of the landmarks."""
        later, landmarks = self.layers(encoded.tokens[:, -1]).float().split(self.sizes, 1)
        return later, landmarks


@dataclass(frozen=True, eq=False)
class Losses:
    """Scalars: mean absolute errors of actions, hand positions, landmarks; nats per word."""

    action: Tensor
    hindsight: Tensor
    landmark: Tensor
    word: Tensor

    def total(self, schedule: Schedule) -> Tensor:
        """The weighted sum that is minimised."""
        places = (
            schedule.hindsight_weight * self.hindsight + schedule.landmark_weight * self.landmark
        )
        return self.action + places + schedule.word_weight * self.word


def losses(network: TinyVLA, head: PlacesHead, batch: Batch, flow_samples: int) -> Losses:
    """Every loss of one batch."""
    encoded = network.encode(batch.pictures, batch.words, batch.state)
    later, landmarks = head(encoded)
    there = ~batch.landmarks.isnan()
    off = (landmarks - batch.landmarks.nan_to_num()).abs() * there
    return Losses(
        action=_flow_loss(network, encoded, batch, flow_samples),
        hindsight=(later - batch.ahead).abs().mean(),
        landmark=off.sum() / there.sum().clamp(min=1),
        word=_word_loss(network, encoded, batch),
    )


def _flow_loss(network: TinyVLA, encoded: Encoded, batch: Batch, samples: int) -> Tensor:
    """Clean actions from noisy ones, several noises and times per observation.

    Times lean towards noise, where the observation matters most (Black et al. 2024, "pi0",
    arXiv:2410.24164, draw them from a Beta(1.5, 1)).
    """
    contexts, hidden = network.contexts(encoded)
    contexts = [
        (keys.repeat_interleave(samples, 0), values.repeat_interleave(samples, 0))
        for keys, values in contexts
    ]
    clean = batch.actions.repeat_interleave(samples, 0)
    time = 1 - torch.rand(len(clean), generator=batch.random) ** (2 / 3)
    noise = torch.randn(clean.shape, generator=batch.random)
    noisy = torch.lerp(noise, clean, time[:, None, None])
    guess = network.denoise(noisy, time, contexts, hidden.repeat_interleave(samples, 0))
    error = (guess.float() - clean).abs().mean(-1)
    return (error * batch.valid.repeat_interleave(samples, 0)).mean()


def _word_loss(network: TinyVLA, encoded: Encoded, batch: Batch) -> Tensor:
    """Every spoken word, hidden or not, read off its own token through the tied embedding."""
    first = network.config.image_tokens
    logits = encoded.tokens[:, first : first + network.config.words] @ network.words.weight.T
    return F.cross_entropy(logits.float().flatten(0, 1), batch.spoken.flatten(), ignore_index=PAD)
