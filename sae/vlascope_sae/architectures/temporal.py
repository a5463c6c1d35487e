"""Temporal: TopK whose codes of one token resemble each other at adjacent times.

As the T-SAE of "Not All Features Are Created Equal" (arXiv 2603.19233): TopK plus a symmetric
InfoNCE (van den Oord et al. 2018, arXiv 1807.03748) between the codes at t and at t + 1.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from vlascope.errors import UnusableActivations
from vlascope_sae.architectures.topk import TopK, TopKConfig, fired_counts
from vlascope_sae.autoencoder import SAEConfig, Step
from vlascope_sae.losses import Batch, finish

__all__ = ["Temporal", "TemporalConfig", "symmetric_info_nce"]


class TemporalConfig(TopKConfig):
    """The temporal autoencoder's own settings.

    Attributes:
        contrast_weight: how much telling one's own neighbour from others counts.
        temperature: of the similarities.
        contrast_pairs: among at most how many pairs a neighbour is to be told.
    """

    architecture: str = "temporal"
    contrast_weight: float = Field(default=0.1, ge=0)
    temperature: float = Field(default=0.1, gt=0)
    contrast_pairs: int = Field(default=512, ge=2)


class Temporal(TopK):
    """TopK trained on pairs: the same token at adjacent times."""

    config_class: ClassVar[type[SAEConfig]] = TemporalConfig
    takes_pairs: ClassVar[bool] = True

    def step(
        self,
        x: Float[Tensor, "pairs 2 d"],
        target: Float[Tensor, "pairs 2 o"] | None = None,
        *,
        dead: Tensor | None = None,
        progress: float = 1.0,
    ) -> Step:
        """Squared error of both times, and the contrast between their codes.

        Raises:
            UnusableActivations: the batch is not made of pairs.
        """
        del progress
        settings = cast(TemporalConfig, self.config)
        batch = Batch.of(self, _flat(x), None if target is None else _flat(target))
        values, support = self.fire(batch.n)
        reconstruction = self.decode_support(values, support)
        pairs = len(x)
        few = min(pairs, settings.contrast_pairs)
        entries = values.reshape(2, pairs, -1)[:, :few]
        latents = support.indices.reshape(2, pairs, -1)[:, :few]
        z = values.new_zeros(2, few, self.config.d_sae).scatter_add(2, latents, entries)
        return finish(
            self,
            batch,
            reconstruction,
            fired_counts(values, support),
            dead=dead,
            penalties={
                "contrast": (
                    settings.contrast_weight,
                    symmetric_info_nce(z[0], z[1], settings.temperature),
                )
            },
        )


def symmetric_info_nce(
    now: Float[Tensor, "pairs f"], after: Float[Tensor, "pairs f"], temperature: float
) -> Float[Tensor, ""]:
    """How badly each row is told from the others by cosine similarity to its partner."""
    one = functional.normalize(now, dim=1, eps=1e-8)
    two = functional.normalize(after, dim=1, eps=1e-8)
    similarity = one @ two.T / temperature
    own = torch.arange(len(now), device=now.device)
    return (
        functional.cross_entropy(similarity, own) + functional.cross_entropy(similarity.T, own)
    ) / 2


def _flat(x: Tensor) -> Tensor:
    """All first times, then all second times."""
    if x.ndim != 3 or x.shape[1] != 2:
        raise UnusableActivations(
            f"a temporal autoencoder learns from (pairs, 2, d): the same token at adjacent times; "
            f"got {tuple(x.shape)}"
        )
    return x.transpose(0, 1).reshape(-1, x.shape[-1])
