"""JumpReLU: a learned threshold for each latent (Rajamanoharan et al. 2024, arXiv 2407.14435)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Self, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from vlascope_sae.autoencoder import SAEConfig, Step
from vlascope_sae.losses import Batch, finish
from vlascope_sae.sparsity import PenalisedConfig, PenalisedSAE

__all__ = ["JumpReLU", "JumpReLUConfig", "jump", "open_gates"]


class JumpReLUConfig(PenalisedConfig):
    """Penalised is L0. Lengths are in units of the root mean square norm of its input.

    Attributes:
        threshold: where thresholds start, if not where `target_l0` puts them.
        bandwidth: how far from its threshold a pre-activation still moves it.
    """

    architecture: str = "jumprelu"
    threshold: float = Field(default=0.01, gt=0)
    bandwidth: float = Field(default=0.05, gt=0)
    sparsity_weight: float = Field(default=1e-3, ge=0)


class JumpReLU(PenalisedSAE):
    """A latent fires with its whole pre-activation where that exceeds the latent's threshold."""

    config_class: ClassVar[type[SAEConfig]] = JumpReLUConfig
    unit: Float[Tensor, ""]

    def __init__(self, config: SAEConfig) -> None:
        super().__init__(config)
        start = math.log(self.settings.threshold)
        self.log_threshold = nn.Parameter(torch.full((config.d_sae,), start))
        self.register_buffer("unit", torch.ones(()))

    @property
    def settings(self) -> JumpReLUConfig:
        """The configuration, as what it is."""
        return cast(JumpReLUConfig, self.config)

    @property
    def threshold(self) -> Float[Tensor, " f"]:
        """Above which pre-activation each latent fires."""
        return self.log_threshold.exp()

    @torch.no_grad()
    def initialise(
        self, sample: Float[Tensor, "n d"], target: Float[Tensor, "n o"] | None = None
    ) -> Self:
        """Also put thresholds on the scale of the normalised activations."""
        self.log_threshold.fill_(-math.inf)
        super().initialise(sample, target)
        n, _ = self.normalise_in(sample)
        centred = n if self.is_transcoder else n - self.b_dec
        self.unit.copy_(centred.square().sum(-1).mean().sqrt())
        if self.settings.target_l0 is None:
            self.fire_above(self.settings.threshold * self.unit)
        return self

    @torch.no_grad()
    def fire_above(self, bound: Float[Tensor, ""]) -> None:
        """Thresholds at the bound; they stay above zero."""
        self.log_threshold.copy_(bound.clamp_min(1e-6).log().expand_as(self.b_enc))

    @torch.no_grad()
    def fire_less(self, by: Float[Tensor, ""]) -> None:
        """Every threshold e^by times as high; gradients, which are small, tell them apart."""
        self.log_threshold.add_(by)

    def encode_normalised(self, n: Float[Tensor, "rows d"]) -> Float[Tensor, "rows f"]:
        """Pre-activations above their thresholds."""
        pre = self.preactivations(n)
        return torch.where(pre > self.threshold, pre, 0.0)

    def step(
        self,
        x: Float[Tensor, "rows d"],
        target: Float[Tensor, "rows o"] | None = None,
        *,
        dead: Tensor | None = None,
        progress: float = 1.0,
    ) -> Step:
        """Squared error and L0, whose gradient reaches the thresholds by a kernel estimate."""
        settings = self.settings
        batch = Batch.of(self, x, target)
        pre = self.preactivations(batch.n)
        bandwidth = settings.bandwidth * self.unit
        z = jump(pre, self.threshold, bandwidth)
        l0 = open_gates(pre, self.threshold, bandwidth).sum() / len(pre)
        return finish(
            self,
            batch,
            torch.addmm(self.b_dec, z, self.W_dec),
            (z.detach() > 0).sum(0).to(z.dtype),
            dead=dead,
            penalties={"sparsity": (self.penalty_weight(progress), l0)},
        )


def _near(pre: Tensor, threshold: Tensor, bandwidth: Tensor) -> Tensor:
    """The rectangle kernel: 1 within half a bandwidth of the threshold."""
    return ((pre - threshold).abs() < bandwidth / 2).to(pre.dtype)


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: Tensor) -> Tensor:
        ctx.save_for_backward(pre, threshold, bandwidth)
        return torch.where(pre > threshold, pre, 0.0)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad,) = grad_outputs
        pre, threshold, bandwidth = ctx.saved_tensors
        moved = (grad * _near(pre, threshold, bandwidth)).sum(0)
        return torch.where(pre > threshold, grad, 0.0), -threshold / bandwidth * moved, None


class _Open(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: Tensor) -> Tensor:
        ctx.save_for_backward(pre, threshold, bandwidth)
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor, None]:
        (grad,) = grad_outputs
        pre, threshold, bandwidth = ctx.saved_tensors
        return None, -(grad * _near(pre, threshold, bandwidth)).sum(0) / bandwidth, None


_jump: Callable[..., Tensor] = _Jump.apply
_open_gates: Callable[..., Tensor] = _Open.apply


def jump(
    pre: Float[Tensor, "rows f"], threshold: Float[Tensor, " f"], bandwidth: Float[Tensor, ""]
) -> Float[Tensor, "rows f"]:
    """Pre-activations above the threshold; d/dt = -(t / eps) K((pre - t) / eps) (eq. 11)."""
    return _jump(pre, threshold, bandwidth)


def open_gates(
    pre: Float[Tensor, "rows f"], threshold: Float[Tensor, " f"], bandwidth: Float[Tensor, ""]
) -> Float[Tensor, "rows f"]:
    """1 above the threshold, else 0; d/dt = -(1 / eps) K((pre - t) / eps) (eq. 12)."""
    return _open_gates(pre, threshold, bandwidth)
