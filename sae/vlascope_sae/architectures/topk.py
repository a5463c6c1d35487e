"""TopK: the k largest pre-activations fire (Gao et al. 2024, arXiv 2406.04093)."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from vlascope_sae.autoencoder import SAEConfig, SparseAutoencoder, SparseCodes, Step
from vlascope_sae.kernels import (
    Support,
    gather_encode,
    preactivations,
    prefer_dense,
    sparse_decode,
)
from vlascope_sae.losses import Batch, finish

__all__ = ["TopK", "TopKConfig", "fired_counts"]


class TopKConfig(SAEConfig):
    """TopK's own settings.

    Attributes:
        k: how many latents fire in a row.
        signed: whether a negative pre-activation among the k largest is kept, not set to 0.
    """

    architecture: str = "topk"
    k: int = Field(ge=1)
    signed: bool = False

    @model_validator(mode="after")
    def _enough_latents(self) -> TopKConfig:
        if self.k > self.d_sae:
            raise ValueError(f"k = {self.k} of d_sae = {self.d_sae} latents; k must not exceed it")
        return self


class TopK(SparseAutoencoder):
    """The k largest pre-activations of each row fire."""

    config_class: ClassVar[type[SAEConfig]] = TopKConfig

    @property
    def settings(self) -> TopKConfig:
        """The configuration, as what it is."""
        return cast(TopKConfig, self.config)

    def encode_normalised(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows f"]:
        """The k largest, the rest 0."""
        return self._codes(self.preactivations(n)).dense(self.config.d_sae)

    @torch.no_grad()
    def encode_sparse(self, x: Float[Tensor, "rows d"]) -> SparseCodes:
        """The k latents of each row; not differentiable."""
        n, _ = self.normalise_in(x)
        return self._codes(self.preactivations(n))

    def step(
        self,
        x: Float[Tensor, "rows d"],
        target: Float[Tensor, "rows o"] | None = None,
        *,
        dead: Tensor | None = None,
        progress: float = 1.0,
    ) -> Step:
        """Squared error, and the auxiliary loss of dead latents."""
        del progress
        batch = Batch.of(self, x, target)
        values, support = self.fire(batch.n)
        reconstruction = self.decode_support(values, support)
        return finish(self, batch, reconstruction, fired_counts(values, support), dead=dead)

    def fire(self, n: Float[Tensor, "rows d"]) -> tuple[Float[Tensor, " fired"], Support]:
        """Values of the latents that fire in training, differentiable, and which they are."""
        indices, known = self._select(n)
        support = Support.of_rows(indices, self.config.d_sae)
        values = self.values_at(n, support, known)
        return (values if self.settings.signed else values.relu()), support

    def first_reconstruction(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows o"]:
        """From the latents that fire in training."""
        return self.decode_support(*self.fire(n)) - self.b_dec

    def values_at(self, n: Tensor, support: Support, known: Tensor | None) -> Tensor:
        """Pre-activations at a support, differentiable by the cheaper kernel."""
        if self._dense(support):
            return self.preactivations(n)[support.rows, support.indices]
        centred = n if self.is_transcoder else n - self.b_dec
        return gather_encode(centred, self.W_enc, self.b_enc, support, known)

    def decode_support(self, values: Tensor, support: Support) -> Float[Tensor, "rows o"]:
        """Normalised reconstruction from the latents that fired."""
        if self._dense(support):
            z = values.new_zeros(len(support.offsets), self.config.d_sae)
            return z.index_put((support.rows, support.indices), values) @ self.W_dec + self.b_dec
        return sparse_decode(values, self.W_dec, support) + self.b_dec

    @torch.no_grad()
    def _select(self, n: Tensor) -> tuple[Tensor, Tensor | None]:
        exact = self.config.precision == "full"
        centred = n if self.is_transcoder else n - self.b_dec
        found = preactivations(centred, self.W_enc, self.b_enc, self.config.precision)
        values, indices = found.topk(self.settings.k, dim=1, sorted=False)
        return indices, values.reshape(-1) if exact else None

    def _dense(self, support: Support) -> bool:
        return prefer_dense(self.config.d_sae, self.settings.k, support.indices.device)

    def _codes(self, pre: Float[Tensor, "rows f"]) -> SparseCodes:
        values, indices = pre.topk(self.settings.k, dim=1, sorted=False)
        return SparseCodes(indices, values if self.settings.signed else values.relu())


def fired_counts(values: Float[Tensor, " fired"], support: Support) -> Float[Tensor, " f"]:
    """In how many rows each latent fired."""
    return support.counts((values.detach() != 0).to(values.dtype))
