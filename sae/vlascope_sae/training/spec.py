"""How autoencoders are trained: how long, how fast, in which precision, when to stop."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["OPTIMISER", "TrainingSpec", "recommended_rate"]

OPTIMISER = ("lr", "betas", "eps", "warmup", "schedule", "final_lr", "clip")
"""Settings that each autoencoder of a training may have to itself."""


def recommended_rate(d_sae: int) -> float:
    """Adam's rate for so many latents: 2e-4 at 2^14, falling with the root of their number.

    After Gao et al. 2024 (arXiv 2406.04093), as sparsify and dictionary_learning have it, but
    never above 3e-3.
    """
    return min(2e-4 / (d_sae / 2**14) ** 0.5, 3e-3)


class TrainingSpec(BaseModel):
    """Everything about training that is not the autoencoder's own; times are in samples.

    Attributes:
        samples: rows to train on; more than there are means several epochs.
        batch_size: rows per step, over all processes together.
        lr: the learning rate at its highest; None for each autoencoder's `recommended_rate`.
        betas, eps: Adam's.
        warmup: share of the training in which the rate rises from 0.
        schedule: how it falls afterwards.
        final_lr: what it falls to, as a share of `lr`.
        clip: largest norm of the gradient; None for no clipping.
        precision: `tf32` computes matrix products faster on a GPU, and less exactly. (bfloat16 in
            the encoder is a property of the autoencoder: `SAEConfig.precision`.)
        sample_rows: rows from which normalisation, decoder bias and outlier limit are estimated.
        buffer_rows: rows of a hook point that are mixed with one another, and held in memory.
        validate_every: samples between validations; None for one at the end.
        validation_rows: held-out rows looked at while training; the last look takes all.
        patience: validations without progress after which an autoencoder stops, keeping its best
            weights; None to train to the end.
        min_delta: what counts as progress in the validation FVU.
        checkpoint_every: samples between checkpoints.
        log_every: samples between lines of the log.
        seed: of the order of the data.
        device: where to train; `auto` for a GPU if there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(ge=1)
    batch_size: int = Field(default=4096, ge=1)
    lr: float | None = Field(default=None, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    final_lr: float = Field(default=0.0, ge=0, le=1)
    clip: float | None = Field(default=1.0, gt=0)
    precision: Literal["float32", "tf32"] = "float32"
    sample_rows: int = Field(default=32768, ge=2)
    buffer_rows: int = Field(default=65536, ge=1)
    validate_every: int | None = Field(default=None, ge=1)
    validation_rows: int = Field(default=65536, ge=1)
    patience: int | None = Field(default=None, ge=1)
    min_delta: float = Field(default=1e-4, ge=0)
    checkpoint_every: int = Field(default=1_000_000, ge=1)
    log_every: int = Field(default=100_000, ge=1)
    seed: int = 0
    device: str = "auto"

    @model_validator(mode="after")
    def _patience_needs_validation(self) -> TrainingSpec:
        if self.patience is not None and self.validate_every is None:
            raise ValueError("patience counts validations: set validate_every as well")
        return self

    @property
    def steps(self) -> int:
        """Steps in all; the last one is whole."""
        return math.ceil(self.samples / self.batch_size)

    def settled(self, d_sae: int) -> TrainingSpec:
        """The same with a learning rate, for an autoencoder of so many latents."""
        return self if self.lr else self.model_copy(update={"lr": recommended_rate(d_sae)})

    def rate(self, progress: float) -> float:
        """The learning rate when a share of the training is done, 0 to 1; see `settled`."""
        assert self.lr is not None
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        left = 1 - (progress - self.warmup) / max(1 - self.warmup, 1e-12)
        match self.schedule:
            case "constant":
                share = 1.0
            case "linear":
                share = left
            case "cosine":
                share = 0.5 * (1 + math.cos(math.pi * (1 - left)))
        return self.lr * (self.final_lr + (1 - self.final_lr) * share)

    def due(self, every: int | None, step: int) -> bool:
        """Whether a multiple of `every` samples is passed by the `step`-th step (from 1)."""
        if every is None:
            return False
        return step * self.batch_size // every > (step - 1) * self.batch_size // every
