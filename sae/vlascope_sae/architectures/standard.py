"""Standard: ReLU latents penalised by their sum (Bricken et al. 2023; April 2024 update)."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from vlascope_sae.autoencoder import SAEConfig, Step
from vlascope_sae.losses import Batch, finish
from vlascope_sae.sparsity import PenalisedConfig, PenalisedSAE

__all__ = ["Standard", "StandardConfig"]


class StandardConfig(PenalisedConfig):
    """Penalised is the mean sum of latents, in units of the data's standard deviation."""

    architecture: str = "standard"


class Standard(PenalisedSAE):
    """Every positive pre-activation fires, and training makes firing cost its size."""

    config_class: ClassVar[type[SAEConfig]] = StandardConfig

    def encode_normalised(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows f"]:
        """The positive pre-activations."""
        return self.preactivations(n).relu()

    def step(
        self,
        x: Float[Tensor, "rows d"],
        target: Float[Tensor, "rows o"] | None = None,
        *,
        dead: Tensor | None = None,
        progress: float = 1.0,
    ) -> Step:
        """Squared error, and the latents weighted by the norms of their decoder rows."""
        batch = Batch.of(self, x, target)
        z = self.encode_normalised(batch.n)
        size = batch.size(z * self.W_dec.norm(dim=1))
        return finish(
            self,
            batch,
            torch.addmm(self.b_dec, z, self.W_dec),
            (z.detach() > 0).sum(0).to(z.dtype),
            dead=dead,
            penalties={"sparsity": (self.penalty_weight(progress), size)},
        )
