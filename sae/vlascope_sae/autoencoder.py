"""The contract of every sparse autoencoder, and the parts that all of them share.

Orientation and names are SAELens': `W_enc` (d_in, d_sae), `W_dec` (d_sae, d_out). An autoencoder
reads activations in their own units and gives them back in their own units: normalisation lives
inside. Without a word to the contrary d_out = d_in; a transcoder predicts another site.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vlascope_sae.normalisation import Normalisation, NormalisationKind, Sample

__all__ = ["SAEConfig", "SparseAutoencoder", "SparseCodes", "Step"]


class SAEConfig(BaseModel):
    """The shape of an autoencoder and what it is penalised for; architectures add fields.

    Attributes:
        architecture: as registered.
        d_in: width of the activations read.
        d_sae: number of latents (features).
        d_out: width of what is predicted; None for the same as `d_in`.
        normalise: see `Normalisation`.
        aux_weight: how much the auxiliary loss of dead latents counts; 0 for none.
        aux_k: how many dead latents reconstruct the residual.
        dead_after: a latent that has not fired over so many samples is dead.
        seed: of the initial weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    d_in: int = Field(ge=1)
    d_sae: int = Field(ge=1)
    d_out: int | None = Field(default=None, ge=1)
    normalise: NormalisationKind = "none"
    aux_weight: float = Field(default=1 / 32, ge=0)
    aux_k: int = Field(default=512, ge=1)
    dead_after: int = Field(default=1_000_000, ge=1)
    seed: int = 0

    @property
    def width_out(self) -> int:
        """The width of what is predicted."""
        return self.d_out or self.d_in


@dataclass(frozen=True, eq=False)
class SparseCodes:
    """The latents that fired, row by row: `values[r, j]` of latent `indices[r, j]`.

    Rows with fewer than k firings are filled up with value 0.
    """

    indices: Int[Tensor, "rows k"]
    values: Float[Tensor, "rows k"]

    def dense(self, d_sae: int) -> Float[Tensor, "rows f"]:
        """The same with a column for every latent."""
        empty = self.values.new_zeros(len(self.values), d_sae)
        return empty.scatter_add(1, self.indices, self.values)


@dataclass(frozen=True, eq=False)
class Step:
    """What one training step computed.

    Attributes:
        loss: scalar to be minimised.
        parts: its terms by name, detached (`reconstruction`, `sparsity`, `auxiliary`, ...).
        fired: bool (d_sae,), which latents fired in this batch.
        l0: scalar tensor, mean number of latents that fired per row.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    fired: Tensor
    l0: Tensor


class SparseAutoencoder(nn.Module, ABC):
    """Activations as sparse, non-negative sums of learned directions, plus an error.

    A subclass says how latents fire (`encode_normalised`) and what training minimises (`step`).
    """

    config_class: ClassVar[type[SAEConfig]] = SAEConfig

    def __init__(self, config: SAEConfig) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(config.seed)
        directions = torch.randn(config.d_sae, config.width_out, generator=generator)
        directions = directions / directions.norm(dim=1, keepdim=True)
        self.W_dec = nn.Parameter(directions)
        if config.width_out == config.d_in:
            encoder = directions.T.clone()
        else:
            encoder = torch.randn(config.d_in, config.d_sae, generator=generator)
            encoder = encoder / encoder.norm(dim=0, keepdim=True)
        self.W_enc = nn.Parameter(encoder)
        self.b_enc = nn.Parameter(torch.zeros(config.d_sae))
        self.b_dec = nn.Parameter(torch.zeros(config.width_out))
        self.normalise_in = Normalisation(config.normalise, config.d_in)
        self.normalise_out = (
            self.normalise_in
            if config.d_out is None
            else Normalisation(config.normalise, config.width_out)
        )

    @abstractmethod
    def encode_normalised(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows f"]:
        """Latents of normalised rows, dense and non-negative, as they are at inference."""

    @abstractmethod
    def step(
        self,
        x: Float[Tensor, "rows d"],
        target: Float[Tensor, "rows o"] | None,
        *,
        dead: Tensor,
        progress: float,
    ) -> Step:
        """The losses of a batch; `target` is `x` itself but for a transcoder.

        Args:
            x: activations in their own units.
            target: what to predict, in its own units; None for `x`.
            dead: bool (d_sae,), latents that have not fired for `dead_after` samples.
            progress: share of the training done, 0 to 1, for sparsity schedules.
        """

    def encode(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows f"]:
        """Latents of activations in their own units."""
        n, _ = self.normalise_in(x)
        rows = n.reshape(-1, n.shape[-1])
        return self.encode_normalised(rows).reshape(*x.shape[:-1], -1)

    def decode(
        self, z: Float[Tensor, "*rows f"], like: Float[Tensor, "*rows d"] | None = None
    ) -> Float[Tensor, "*rows o"]:
        """What latents stand for, in the units of the activations.

        Args:
            z: latents.
            like: the activations they were encoded from: needed where normalisation is by row.

        Raises:
            ValueError: normalisation is by row and `like` is missing.
        """
        return self.normalise_out.inverse(z @ self.W_dec + self.b_dec, self._sample(like))

    def forward(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows o"]:
        """The reconstruction."""
        return self.decode(self.encode(x), like=x)

    @torch.no_grad()
    def unit_decoder(self) -> Self:
        """Make every decoder row of norm 1."""
        self.W_dec.div_(self.W_dec.norm(dim=1, keepdim=True).clamp_min(1e-12))
        return self

    def _sample(self, like: Tensor | None) -> Sample | None:
        if self.normalise_out.foldable:
            return None
        if like is None:
            raise ValueError(
                f"{self.config.architecture} was trained with {self.config.normalise}: decoding "
                "needs the activations the latents came from (like=x)"
            )
        _, sample = self.normalise_out(like)
        return sample
