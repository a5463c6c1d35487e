"""What happens to an activation before it is encoded, and back after it is decoded."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vlascope.errors import UnusableActivations

__all__ = ["Normalisation", "NormalisationKind", "Sample", "geometric_median", "usable"]

NormalisationKind = Literal["none", "zscore", "unit_norm", "layer_norm"]
_EPSILON = 1e-6


class Sample(NamedTuple):
    """What has to be remembered of each row to undo its normalisation: x = scale * n + shift."""

    scale: Float[Tensor, "*rows 1"]
    shift: Float[Tensor, "*rows 1"]


class Normalisation(nn.Module):
    """Carries activations to the units an autoencoder works in: n = (x - mean) / std, in buffers.

    `none` leaves them; `zscore` takes mean and standard deviation of every dimension; `unit_norm`
    divides by one number so that the mean norm is sqrt(d) (Transformer Circuits updates, April
    2024);
    `layer_norm` takes mean and norm of each row's own dimensions after subtracting `mean`, as
    DrVLA does; there `mean` starts at the geometric median and is learned. The first three are
    affine with constants and can be folded into weights.
    """

    mean: Float[Tensor, " d"]
    std: Float[Tensor, " d"]

    def __init__(self, kind: NormalisationKind, d: int) -> None:
        super().__init__()
        self.kind: NormalisationKind = kind
        if kind == "layer_norm":
            self.mean = nn.Parameter(torch.zeros(d))
        else:
            self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("std", torch.ones(d))

    @property
    def foldable(self) -> bool:
        """Whether it is the same affine map for every row."""
        return self.kind != "layer_norm"

    @torch.no_grad()
    def reset(self) -> None:
        """Back to constants that change nothing."""
        self.mean.zero_()
        self.std.fill_(1.0)

    @torch.no_grad()
    def fit(self, x: Float[Tensor, "n d"]) -> None:
        """Learn the constants from a sample of rows.

        A dimension that is constant in the sample keeps standard deviation 1.

        Raises:
            UnusableActivations: the sample is empty, not finite or constant.
        """
        rows = usable(x)
        if self.kind == "zscore":
            self.mean.copy_(rows.mean(0))
            std = rows.std(0, correction=0)
            self.std.copy_(torch.where(std > _EPSILON * std.max(), std, 1.0))
        elif self.kind == "unit_norm":
            self.std.fill_(rows.norm(dim=-1).mean() / rows.shape[-1] ** 0.5)
        elif self.kind == "layer_norm":
            self.mean.copy_(geometric_median(rows))

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


def usable(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The rows in float64.

    Raises:
        UnusableActivations: there are none, some are not finite, or all are the same.
    """
    if x.ndim != 2 or len(x) == 0:
        raise UnusableActivations(f"got activations of shape {tuple(x.shape)}; expected rows x d")
    rows = x.double()
    finite = torch.isfinite(rows)
    if not finite.all():
        raise UnusableActivations(
            f"{int((~finite).any(1).sum())} of {len(x)} rows hold NaN or infinity; look for an "
            "overflow where they were recorded (float16?), or leave those rows out"
        )
    if bool((rows == rows[0]).all()):
        raise UnusableActivations(
            f"all {len(x)} rows are the same, so there is nothing to learn; check the hook point, "
            "the token span and that the recording saw more than one observation"
        )
    return rows


def geometric_median(
    x: Float[Tensor, "n d"], *, iterations: int = 100, tolerance: float = 1e-6
) -> Float[Tensor, " d"]:
    """The point with the least sum of distances to the rows (Weiszfeld's iteration)."""
    point = x.mean(0)
    for _ in range(iterations):
        weight = 1 / (x - point).norm(dim=1).clamp_min(1e-12)
        nearer = (x * weight[:, None]).sum(0) / weight.sum()
        moved = (nearer - point).norm()
        point = nearer
        if bool(moved <= tolerance * point.norm()):
            break
    return point
