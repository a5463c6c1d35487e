"""BatchTopK: k latents per row on average over a batch (Bussmann et al. 2024, arXiv 2412.06410)."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from vlascope_sae.architectures.jumprelu import JumpReLU, JumpReLUConfig
from vlascope_sae.architectures.topk import TopK, TopKConfig
from vlascope_sae.autoencoder import SAEConfig, SparseAutoencoder, SparseCodes
from vlascope_sae.kernels import Support, largest_of_batch, preactivations

__all__ = ["BatchTopK", "BatchTopKConfig"]


class BatchTopKConfig(TopKConfig):
    """BatchTopK's own settings.

    Attributes:
        threshold_momentum: how fast the running threshold follows a batch's.
    """

    architecture: str = "batch_topk"
    threshold_momentum: float = Field(default=0.01, gt=0, le=1)


class BatchTopK(TopK):
    """The k * rows largest pre-activations of a batch fire; at inference, those over a threshold.

    The threshold is the running mean of the smallest pre-activation that fired in training, so
    that a row's latents do not depend on the rows beside it.
    """

    config_class: ClassVar[type[SAEConfig]] = BatchTopKConfig
    threshold: Float[Tensor, ""]

    def __init__(self, config: SAEConfig) -> None:
        super().__init__(config)
        self.register_buffer("threshold", torch.zeros(()))

    def first_reconstruction(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows o"]:
        """From the latents that fire in training; leaves the running threshold unset."""
        told = super().first_reconstruction(n)
        self.threshold.zero_()
        return told

    def encode_normalised(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows f"]:
        """Pre-activations above the running threshold."""
        pre = self.preactivations(n)
        return torch.where(pre > self.threshold, pre, 0.0)

    def encode_sparse(self, x: Float[Tensor, "rows d"]) -> SparseCodes:
        """The latents over the threshold; not differentiable."""
        return SparseAutoencoder.encode_sparse(self, x)

    def fire(self, n: Float[Tensor, "rows d"]) -> tuple[Float[Tensor, " fired"], Support]:
        """Values of the latents that fire in training, differentiable, and which they are."""
        with torch.no_grad():
            exact = self.config.precision == "full"
            centred = n if self.is_transcoder else n - self.b_dec
            pre = preactivations(centred, self.W_enc, self.b_enc, self.config.precision)
            support, known = largest_of_batch(pre, self.settings.k)
            if self.training:
                self._follow(known)
        values = self.values_at(n, support, known if exact else None)
        return values.relu(), support

    @torch.no_grad()
    def as_jumprelu(self) -> JumpReLU:
        """The same function with the threshold written out for every latent, as it is saved."""
        shared = {name: getattr(self.config, name) for name in SAEConfig.model_fields}
        made = JumpReLU(JumpReLUConfig(**{**shared, "architecture": "jumprelu"})).to(self.W_dec)
        made.load_state_dict(self.state_dict(), strict=False)
        made.log_threshold.copy_(self.threshold.clamp_min(1e-30).log().expand_as(made.b_enc))
        return made.train(self.training)

    def _follow(self, fired: Tensor) -> None:
        """Move the running threshold; a first batch sets it."""
        lowest = torch.where(fired > 0, fired, torch.inf).min().to(self.threshold.dtype)
        momentum = self.config.threshold_momentum  # type: ignore[attr-defined]
        moved = torch.lerp(self.threshold, lowest, momentum)
        moved = torch.where(self.threshold == 0, lowest, moved)
        self.threshold.copy_(torch.where(lowest.isfinite(), moved, self.threshold))
