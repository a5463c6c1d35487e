"""What happens to an activation before it is encoded, and back after it is decoded."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Normalisation", "NormalisationKind", "Sample"]

NormalisationKind = Literal["none", "zscore", "unit_norm", "layer_norm"]
_EPSILON = 1e-6


class Sample(NamedTuple):
    """What has to be remembered of each row to undo its normalisation: x = scale * n + shift."""

    scale: Float[Tensor, "*rows 1"]
    shift: Float[Tensor, "*rows 1"]


class Normalisation(nn.Module):
    """Carries activations to the units an autoencoder works in: n = (x - mean) / std, in buffers.

    `none` leaves them; `zscore` takes mean and standard deviation of every dimension; `unit_norm`
    divides by one number so that the mean norm is sqrt(d) (Anthropic, April 2024 update);
    `layer_norm` takes mean and norm of each row's own dimensions after subtracting `mean`, as
    DrVLA does. The first three are affine with constants and can be folded into weights.
    """

    mean: Float[Tensor, " d"]
    std: Float[Tensor, " d"]

    def __init__(self, kind: NormalisationKind, d: int) -> None:
        super().__init__()
        self.kind: NormalisationKind = kind
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("std", torch.ones(d))

    @property
    def foldable(self) -> bool:
        """Whether it is the same affine map for every row."""
        return self.kind != "layer_norm"

    @torch.no_grad()
    def fit(self, x: Float[Tensor, "n d"]) -> None:
        """Learn the constants from a sample of rows.

        Raises:
            ValueError: the sample is empty or not finite.
        """
        rows = x.double()
        if len(rows) == 0 or not torch.isfinite(rows).all():
            raise ValueError(
                f"normalisation needs finite rows; got {tuple(x.shape)} with "
                f"{int((~torch.isfinite(x)).sum())} numbers that are not"
            )
        if self.kind == "zscore":
            self.mean.copy_(rows.mean(0))
            self.std.copy_(rows.std(0, correction=0).clamp_min(_EPSILON))
        elif self.kind == "unit_norm":
            self.std.fill_(rows.norm(dim=-1).mean().clamp_min(_EPSILON) / rows.shape[-1] ** 0.5)

    def forward(
        self, x: Float[Tensor, "*rows d"]
    ) -> tuple[Float[Tensor, "*rows d"], Sample | None]:
        """The normalised rows, and what `inverse` needs; None where the constants suffice."""
        if self.kind == "none":
            return x, None
        if self.kind != "layer_norm":
            return (x - self.mean) / self.std, None
        centred = x - self.mean
        shift = centred.mean(-1, keepdim=True)
        scale = (centred - shift).norm(dim=-1, keepdim=True).clamp_min(_EPSILON)
        return (centred - shift) / scale, Sample(scale, shift)

    def inverse(
        self, n: Float[Tensor, "*rows d"], sample: Sample | None
    ) -> Float[Tensor, "*rows d"]:
        """Back to the units of the activations."""
        if self.kind == "none":
            return n
        if sample is None:
            return n * self.std + self.mean
        return n * sample.scale + sample.shift + self.mean
