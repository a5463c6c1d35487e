"""Gated: whether a latent fires and how strongly are told apart (arXiv 2404.16014)."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vlascope_sae.autoencoder import SAEConfig, Step
from vlascope_sae.losses import Batch, finish
from vlascope_sae.sparsity import PenalisedConfig, PenalisedSAE

__all__ = ["Gated", "GatedConfig"]


class GatedConfig(PenalisedConfig):
    """Penalised is the mean sum of open gates, in the data's standard deviations."""

    architecture: str = "gated"


class Gated(PenalisedSAE):
    """`W_enc`, `b_enc` decide who fires; the same rows rescaled, with biases, say how strongly."""

    config_class: ClassVar[type[SAEConfig]] = GatedConfig

    def __init__(self, config: SAEConfig) -> None:
        super().__init__(config)
        self.r_mag = nn.Parameter(torch.zeros(config.d_sae))
        self.b_mag = nn.Parameter(torch.zeros(config.d_sae))

    def encode_normalised(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows f"]:
        """Magnitudes of the latents whose gate is open."""
        return self._magnitudes(self.preactivations(n))

    def step(
        self,
        x: Float[Tensor, "rows d"],
        target: Float[Tensor, "rows o"] | None = None,
        *,
        dead: Tensor | None = None,
        progress: float = 1.0,
    ) -> Step:
        """Squared error, sum of the gates, and the gates' own reconstruction (eq. 8).

        Only the last reaches the gates through the reconstruction; it leaves the decoder alone.
        """
        batch = Batch.of(self, x, target)
        gate = self.preactivations(batch.n)
        z = self._magnitudes(gate)
        opened = gate.relu()
        through_gates = torch.addmm(self.b_dec.detach(), opened, self.W_dec.detach())
        return finish(
            self,
            batch,
            torch.addmm(self.b_dec, z, self.W_dec),
            (z.detach() > 0).sum(0).to(z.dtype),
            dead=dead,
            penalties={
                "sparsity": (self.penalty_weight(progress), batch.size(opened)),
                "gates": (1.0, batch.loss(through_gates)),
            },
        )

    @torch.no_grad()
    def shift_encoder_bias(self, by: Float[Tensor, " f"]) -> None:
        """Move the gates' biases and, rescaled, the magnitudes'."""
        super().shift_encoder_bias(by)
        self.b_mag.add_(by * self.r_mag.exp())

    def _magnitudes(self, gate: Float[Tensor, "rows f"]) -> Float[Tensor, "rows f"]:
        """ReLU(exp(r_mag) * (gate - b_enc) + b_mag) where the gate is open (eqs. 6 and 7)."""
        magnitude = (self.r_mag.exp() * (gate - self.b_enc) + self.b_mag).relu()
        return torch.where(gate > 0, magnitude, 0.0)
