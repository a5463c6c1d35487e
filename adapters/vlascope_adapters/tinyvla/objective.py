"""What TinyVLA is trained for: the expert's actions, and two lessons that make it look and read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlascope_adapters.tinyvla.batches import Batch
from vlascope_adapters.tinyvla.config import NetworkConfig
from vlascope_adapters.tinyvla.network import Encoded, TinyVLA
from vlascope_adapters.tinyvla.recipe import Schedule
from vlascope_adapters.tinyvla.tokenizer import PAD

__all__ = ["HindsightHead", "KeypointHead", "Lessons", "Losses", "losses"]


class HindsightHead(nn.Module):
    """Reads where the hands will be off the vlm's state token; used in training only."""

    def __init__(self, config: NetworkConfig, hands: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.width, config.width),
            nn.ReLU(),
            nn.Linear(config.width, 3 * hands * (len(config.hindsight) + 1)),
        )

    def forward(self, encoded: Encoded) -> Tensor:
        """Normalised positions, (batch, 3 * times * hands)."""
        return self.layers(encoded.tokens[:, -1]).float()


class KeypointHead(nn.Module):
    """Reads places off image tokens; used in training only.

    Each point picks tokens by a softmax, and each token stands for a place of its own plus
    what it says of the point's place in it: soft keypoints (Levine et al. 2016,
    arXiv:1504.00702).
    """

    def __init__(self, config: NetworkConfig, points: int) -> None:
        super().__init__()
        self.points = points
        self.pick = nn.Linear(config.width, points)
        self.offset = nn.Linear(config.width, 3 * points)
        side = math.isqrt(config.image_tokens)
        across, down = torch.meshgrid(*2 * [torch.linspace(-1, 1, side)], indexing="xy")
        places = torch.stack([across, -down, torch.zeros_like(across)], -1)
        self.places = nn.Parameter(places.flatten(0, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Normalised positions, (batch, 3 * points), from tokens (batch, tokens, width)."""
        share = self.pick(image).float().softmax(1)
        offset = self.offset(image).float().unflatten(-1, (self.points, 3))
        return (share[..., None] * (self.places[:, None] + offset)).sum(1).flatten(1)


class Lessons(nn.Module):
    """What is asked of the network in training beside actions and words."""

    def __init__(self, config: NetworkConfig, landmarks: int, hands: int) -> None:
        super().__init__()
        self.hindsight = HindsightHead(config, hands)
        self.goals = KeypointHead(config, hands * (len(config.hindsight) + 1))
        self.landmarks = KeypointHead(config, landmarks)


@dataclass(frozen=True, eq=False)
class Losses:
    """Scalars: mean absolute errors of actions, hand positions, landmarks; nats per word.

    `narration` is in nats per token that speaks, the entropy of what is to be said included.
    """

    action: Tensor
    hindsight: Tensor
    landmark: Tensor
    word: Tensor
    narration: Tensor

    def total(self, schedule: Schedule) -> Tensor:
        """The weighted sum that is minimised."""
        places = (
            schedule.hindsight_weight * self.hindsight + schedule.landmark_weight * self.landmark
        )
        said = schedule.word_weight * self.word + schedule.narration_weight * self.narration
        return self.action + places + said


def losses(network: TinyVLA, lessons: Lessons, batch: Batch, flow_samples: int) -> Losses:
    """Every loss of one batch."""
    encoded = network.encode(batch.pictures, batch.words, batch.state)
    there = ~batch.landmarks.isnan()
    seen = encoded.tokens[:, : network.config.image_tokens]
    ahead = torch.stack([lessons.hindsight(encoded), lessons.goals(seen)])
    off = (lessons.landmarks(encoded.image) - batch.landmarks.nan_to_num()).abs() * there
    return Losses(
        action=_flow_loss(network, encoded, batch, flow_samples),
        hindsight=(ahead - batch.ahead).abs().mean(),
        landmark=off.sum() / there.sum().clamp(min=1),
        word=_word_loss(network, encoded, batch),
        narration=_narration_loss(network, encoded, batch),
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


def _narration_loss(network: TinyVLA, encoded: Encoded, batch: Batch) -> Tensor:
    """Words for the coming motion, said by the image and state tokens without a final norm.

    The logits are the residual stream times the tied embedding, so that what an FFN's value
    vector adds to the stream adds to them as it is (arXiv 2509.00328 reads them so).
    """
    image = encoded.stream[:, : network.config.image_tokens]
    logits = torch.cat([image, encoded.stream[:, -1:]], 1) @ network.words.weight.T
    nats = -(logits.float().log_softmax(-1) * batch.narrated[:, None]).sum(-1)
    return nats.mean()
