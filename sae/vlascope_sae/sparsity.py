"""Autoencoders that are sparse because firing is penalised, and how they are held at a target L0.

The weight of a penalty says little about how many latents will fire: that depends on the data, the
width and the length of the training. With `target_l0` the encoder starts where so many fire, and
training raises or lowers the weight until they do.
"""

from __future__ import annotations

import math
from typing import Self, cast

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from vlascope_sae.autoencoder import SAEConfig, SparseAutoencoder
from vlascope_sae.losses import warmed_up

__all__ = ["PenalisedConfig", "PenalisedSAE"]

_ROWS = 512
_RANGE = 20.0
"""How far the logarithm of the weight may move in a training whose L0 is e times its target."""
_FASTEST = 0.05
"""The same in a step."""


class PenalisedConfig(SAEConfig):
    """What architectures with a penalty have in common.

    Attributes:
        sparsity_weight: of the penalty; with a target, where it starts.
        sparsity_warmup: over which share of the training the penalty grows to its weight.
        target_l0: how many latents should fire in a row on average, as `k` of TopK; None to leave
            it to `sparsity_weight`.
    """

    sparsity_weight: float = Field(default=0.1, ge=0)
    sparsity_warmup: float = Field(default=0.05, ge=0, le=1)
    target_l0: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _within_reach(self) -> Self:
        if self.target_l0 is not None and self.target_l0 >= self.d_sae:
            raise ValueError(f"target_l0 = {self.target_l0} of d_sae = {self.d_sae} latents")
        if self.target_l0 is not None and self.sparsity_weight == 0:
            raise ValueError("a target_l0 needs a sparsity_weight above 0 to move")
        return self


class PenalisedSAE(SparseAutoencoder):
    """Firing costs; `pressure` multiplies what it costs, and belongs to training alone."""

    pressure: Float[Tensor, ""]

    def __init__(self, config: SAEConfig) -> None:
        super().__init__(config)
        self.register_buffer("pressure", torch.ones(()), persistent=False)

    @property
    def penalty(self) -> PenalisedConfig:
        """The configuration, as what it is."""
        return cast(PenalisedConfig, self.config)

    def penalty_weight(self, progress: float) -> Tensor:
        """What firing costs at this time."""
        own = self.penalty
        return self.pressure * warmed_up(own.sparsity_weight, progress, own.sparsity_warmup)

    @torch.no_grad()
    def initialise(
        self, sample: Float[Tensor, "n d"], target: Float[Tensor, "n o"] | None = None
    ) -> Self:
        """Also start where as many latents fire as asked for."""
        super().initialise(sample, target)
        self.pressure.fill_(1)
        wanted = self.penalty.target_l0
        if wanted is not None:
            n = self.normalise_in(sample)[0][:_ROWS]
            pre = self.preactivations(n).reshape(-1)
            rank = round(pre.numel() * (1 - wanted / self.config.d_sae))
            self.fire_above(pre.kthvalue(min(max(rank, 1), pre.numel())).values)
        return self

    @torch.no_grad()
    def fire_above(self, bound: Float[Tensor, ""]) -> None:
        """Let pre-activations fire that exceed a bound, the same for every latent."""
        self.b_enc.sub_(bound)

    @torch.no_grad()
    def steer(self, l0: Float[Tensor, ""], progress: float, steps: int) -> None:
        """Let firing cost more where too many fire, less where too few do.

        d log(cost) = gain * log(l0 / target), the logarithm cut to [-1, 1]: an integral
        controller, whose gain falls with the number of steps in a training.

        Args:
            l0: of this step, over all processes.
            progress: share of the training done.
            steps: of the training.
        """
        wanted = self.penalty.target_l0
        if wanted is None or progress < self.penalty.sparsity_warmup:
            return
        gain = min(_RANGE / steps, _FASTEST)
        off = (l0.clamp_min(1e-6).log() - math.log(wanted)).clamp(-1, 1)
        self.fire_less(gain * off)

    @torch.no_grad()
    def fire_less(self, by: Float[Tensor, ""]) -> None:
        """Let firing cost e^by times as much."""
        self.pressure.mul_(by.exp()).clamp_(1e-6, 1e6)
