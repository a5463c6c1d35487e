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

from vlascope.errors import IncompatibleError, UnusableActivations
from vlascope_sae.kernels import Precision
from vlascope_sae.normalisation import (
    Normalisation,
    NormalisationKind,
    Sample,
    geometric_median,
    usable,
)

__all__ = ["SAEConfig", "SparseAutoencoder", "SparseCodes", "Step"]


_ROWS_TO_SCALE_BY = 2048


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
        encoder_bias: whether latents have biases of their own.
        decoder_bias: whether a constant is added to what is decoded.
        unit_decoder: whether decoder rows are kept at norm 1 while training.
        encoder_scale: the encoder starts as this times the decoder's transpose; None for the
            scale that reconstructs the sample best (1 for a transcoder).
        precision: of the encoder's matmul; `bf16` chooses who fires from rounded numbers.
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
    encoder_bias: bool = True
    decoder_bias: bool = True
    unit_decoder: bool = True
    encoder_scale: float | None = Field(default=None, gt=0)
    precision: Precision = "full"
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
    """Activations as sparse sums of learned directions, plus an error.

    A subclass says how latents fire (`encode_normalised`) and what training minimises (`step`).
    Training calls `initialise` once, then `step`, `loss.backward()`, `before_optimizer_step()`,
    the optimiser, and `after_optimizer_step()`.

    `W_enc` lies in memory as its transpose does (one latent after another), so that its gradient,
    which is a sum over samples for each latent, needs no transposition; files need `.contiguous()`.
    """

    config_class: ClassVar[type[SAEConfig]] = SAEConfig
    takes_pairs: ClassVar[bool] = False
    """Whether `step` wants (pairs, 2, d): the same token at adjacent times."""

    target_variance: Float[Tensor, ""]

    def __init__(self, config: SAEConfig) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(config.seed)
        self.W_dec = nn.Parameter(_unit_rows(config.d_sae, config.width_out, generator))
        encoder = self.W_dec.detach().clone()
        if self.is_transcoder:
            encoder = _unit_rows(config.d_sae, config.d_in, generator)
        self.W_enc = nn.Parameter((encoder * (config.encoder_scale or 1.0)).T)
        self.b_enc = nn.Parameter(torch.zeros(config.d_sae), requires_grad=config.encoder_bias)
        self.b_dec = nn.Parameter(torch.zeros(config.width_out), requires_grad=config.decoder_bias)
        self.normalise_in = Normalisation(config.normalise, config.d_in)
        if self.is_transcoder:
            # a row of the target has a scale of its own that its input does not tell
            kind = "unit_norm" if config.normalise == "layer_norm" else config.normalise
            self.normalise_target = Normalisation(kind, config.width_out)
        self.register_buffer("target_variance", torch.ones(()))

    @property
    def is_transcoder(self) -> bool:
        """Whether it predicts another site than it reads."""
        return self.config.d_out is not None

    @property
    def normalise_out(self) -> Normalisation:
        """The normalisation of what is predicted."""
        return self.normalise_target if self.is_transcoder else self.normalise_in

    @abstractmethod
    def encode_normalised(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows f"]:
        """Latents of normalised rows, dense, as they are at inference."""

    @abstractmethod
    def step(
        self,
        x: Float[Tensor, "rows d"],
        target: Float[Tensor, "rows o"] | None = None,
        *,
        dead: Tensor | None = None,
        progress: float = 1.0,
    ) -> Step:
        """The losses of a batch; `target` is `x` itself but for a transcoder.

        Args:
            x: activations in their own units; (pairs, 2, d) where `takes_pairs`.
            target: what to predict, in its own units; None for `x`.
            dead: bool (d_sae,), latents that have not fired for `dead_after` samples; None where
                it is known that there are none, which saves the auxiliary loss its work.
            progress: share of the training done, 0 to 1, for sparsity schedules.
        """

    @torch.no_grad()
    def initialise(
        self, sample: Float[Tensor, "n d"], target: Float[Tensor, "n o"] | None = None
    ) -> Self:
        """Fit the normalisation and start the decoder's bias at the geometric median.

        Args:
            sample: rows of training data, outliers left out; some thousands will do.
            target: for a transcoder, the rows to predict from them.

        Raises:
            UnusableActivations: NaN, infinite, constant or no rows, or rows of another width.
        """
        seen = self._target(sample, target)
        _check_width(sample, self.config.d_in, "input")
        _check_width(seen, self.config.width_out, "target")
        self.normalise_in.fit(sample)
        rows = usable(seen)
        if self.is_transcoder:
            self.normalise_target.fit(seen)
        if self.normalise_out.foldable:
            rows = ((rows - self.normalise_out.mean) / self.normalise_out.std).double()
            if self.config.decoder_bias:
                self.b_dec.copy_(geometric_median(rows))
        self.target_variance.copy_(rows.var(0, correction=0).sum())
        if self.config.encoder_scale is None and not self.is_transcoder:
            self._scale_encoder(self.normalise_in(sample)[0][:_ROWS_TO_SCALE_BY])
        return self

    def first_reconstruction(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows o"]:
        """What normalised rows are decoded to before training, less the decoder's bias."""
        return self.encode_normalised(n) @ self.W_dec

    def encode(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows f"]:
        """Latents of activations in their own units."""
        n, _ = self.normalise_in(x)
        rows = n.reshape(-1, n.shape[-1])
        return self.encode_normalised(rows).reshape(*x.shape[:-1], -1)

    @torch.no_grad()
    def encode_sparse(self, x: Float[Tensor, "rows d"]) -> SparseCodes:
        """Latents that fired, filled up to the row with most of them; not differentiable."""
        z = self.encode(x)
        k = max(int((z != 0).sum(-1).max()), 1)
        indices = z.abs().topk(k, dim=-1, sorted=False).indices
        return SparseCodes(indices, z.gather(-1, indices))

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

    def preactivations(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows f"]:
        """What latents see before they decide to fire: (n - b_dec) W_enc + b_enc.

        The decoder's bias is folded into the encoder's; a transcoder's lives at another site.
        """
        bias: Tensor = self.b_enc
        if not self.is_transcoder:
            bias = torch.addmv(bias, self.W_enc.T, self.b_dec, alpha=-1)
        return torch.addmm(bias, n, self.W_enc)

    @torch.no_grad()
    def before_optimizer_step(self) -> None:
        """Remove from the decoder's gradient what would only change the norm of its rows."""
        if self.config.unit_decoder and self.W_dec.grad is not None:
            along = torch.einsum("fd,fd->f", self.W_dec.grad, self.W_dec)
            self.W_dec.grad.addcmul_(along[:, None], self.W_dec, value=-1)

    @torch.no_grad()
    def after_optimizer_step(self) -> None:
        """Bring the decoder's rows back to norm 1."""
        if self.config.unit_decoder:
            self.unit_decoder()

    @torch.no_grad()
    def unit_decoder(self) -> Self:
        """Make every decoder row of norm 1."""
        self.W_dec.div_(self.W_dec.norm(dim=1, keepdim=True).clamp_min(1e-12))
        return self

    @torch.no_grad()
    def fold(self) -> Self:
        """A copy that needs no normalisation and gives the same latents and reconstructions.

        Raises:
            IncompatibleError: the normalisation differs from row to row.
        """
        if not (self.normalise_in.foldable and self.normalise_out.foldable):
            raise IncompatibleError(
                f"{self.config.normalise} takes each row's own scale, which no weights can hold: "
                "keep the autoencoder as it is (none, zscore and unit_norm can be folded)"
            )
        changed = {"normalise": "none", "unit_decoder": False}
        folded = type(self)(self.config.model_copy(update=changed)).to(self.W_dec)
        folded.load_state_dict(self.state_dict())
        for part in {folded.normalise_in, folded.normalise_out}:
            part.reset()
        read, told = self.normalise_in, self.normalise_out
        folded.W_enc.copy_(self.W_enc / read.std[:, None])
        folded.W_dec.copy_(self.W_dec * told.std)
        folded.b_dec.copy_(self.b_dec * told.std + told.mean)
        if self.is_transcoder:
            folded.shift_encoder_bias(-(read.mean / read.std) @ self.W_enc)
        return folded.train(self.training)

    @torch.no_grad()
    def shift_encoder_bias(self, by: Float[Tensor, " f"]) -> None:
        """Add to every pre-activation; architectures with more than one bias move them all."""
        self.b_enc.add_(by)

    def _scale_encoder(self, n: Tensor) -> None:
        """Many overlapping directions add up to too much; scale them by least squares."""
        told = self.first_reconstruction(n)
        wanted = n - self.b_dec
        scale = (told * wanted).sum() / told.square().sum().clamp_min(1e-12)
        self.W_enc.mul_(scale.clamp(0.01, 1.0))

    def _target(self, x: Tensor, target: Tensor | None) -> Tensor:
        if target is None and self.is_transcoder:
            raise UnusableActivations(
                f"a transcoder of width {self.config.d_in} -> {self.config.d_out} needs the "
                "activations to predict (target=...)"
            )
        return x if target is None else target

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


def _unit_rows(rows: int, width: int, generator: torch.Generator) -> Tensor:
    directions = torch.randn(rows, width, generator=generator)
    return directions / directions.norm(dim=1, keepdim=True)


def _check_width(x: Tensor, width: int, which: str) -> None:
    if x.ndim != 2 or x.shape[1] != width:
        raise UnusableActivations(
            f"got {which} of shape {tuple(x.shape)} for an autoencoder of {which} width {width}; "
            "set d_in (and d_out) to the width of the hook point"
        )
