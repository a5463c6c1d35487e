"""What a training step minimises, in units where a batch's expected variance is 1.

Every term is a mean over rows, divided by a constant fitted once (`target_variance`): so the
losses of two halves of a batch average to the loss of the whole, on one device or on several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vlascope_sae.autoencoder import SparseAutoencoder, Step

__all__ = ["Batch", "auxiliary_loss", "finish", "warmed_up"]


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch in the units an autoencoder works in.

    Attributes:
        n: what it reads.
        target: what it should give back.
        weight: (rows, 1), squared size of a normalised unit, in units of the target's variance.
    """

    n: Float[Tensor, "rows d"]
    target: Float[Tensor, "rows o"]
    weight: Float[Tensor, "*rows"]

    @classmethod
    def of(cls, sae: SparseAutoencoder, x: Tensor, target: Tensor | None) -> Batch:
        """Normalise a batch given in its own units."""
        n, sample = sae.normalise_in(x)
        if sae.is_transcoder:
            wanted, sample = sae.normalise_out(sae._target(x, target))
        else:
            wanted = n if target is None else sae.normalise_out(target)[0]
        weight = 1 / sae.target_variance
        return cls(n, wanted, weight if sample is None else weight * sample.scale.square())

    def loss(self, reconstruction: Float[Tensor, "rows o"]) -> Float[Tensor, ""]:
        """Mean squared error of the batch, divided by the variance of the data."""
        return self.error(self.target - reconstruction)

    def error(self, difference: Float[Tensor, "rows o"]) -> Float[Tensor, ""]:
        """Mean over rows of the squared norm, divided by the variance of the data."""
        if self.weight.ndim == 0:
            return difference.square().sum() * (self.weight / len(difference))
        return (difference.square() * self.weight).sum() / len(difference)

    def size(self, values: Float[Tensor, "rows f"]) -> Float[Tensor, ""]:
        """Mean over rows of the sum of latents, in units of the data's standard deviation."""
        unit = self.weight.sqrt()
        return (values.sum(-1, keepdim=True) * unit).sum() / len(values)


def warmed_up(weight: float, progress: float, warmup: float) -> float:
    """A penalty that grows linearly over the first share `warmup` of the training."""
    return weight * min(progress / warmup, 1.0) if warmup > 0 else weight


def finish(
    sae: SparseAutoencoder,
    batch: Batch,
    reconstruction: Float[Tensor, "rows o"],
    counts: Float[Tensor, " f"],
    *,
    dead: Tensor | None,
    penalties: Mapping[str, tuple[float | Tensor, Tensor]] | None = None,
    error: Tensor | None = None,
) -> Step:
    """The step of a batch: its error, the penalties (weight, value), and the auxiliary loss.

    Args:
        sae: whose step it is.
        batch: what was read.
        reconstruction: what came out.
        counts: in how many rows each latent fired.
        dead: as in `SparseAutoencoder.step`.
        penalties: by name.
        error: instead of the batch's squared error.
    """
    loss = batch.loss(reconstruction) if error is None else error
    parts = {"reconstruction": loss.detach()}
    terms: dict[str, tuple[float | Tensor, Tensor]] = dict(penalties or {})
    auxiliary = auxiliary_loss(sae, batch, reconstruction, dead)
    if auxiliary is not None:
        terms["auxiliary"] = (sae.config.aux_weight, auxiliary)
    for name, (weight, value) in terms.items():
        parts[name] = value.detach()
        loss = loss + weight * value
    return Step(loss, parts, counts > 0, counts.sum() / len(batch.n))


def auxiliary_loss(
    sae: SparseAutoencoder,
    batch: Batch,
    reconstruction: Float[Tensor, "rows o"],
    dead: Tensor | None,
) -> Float[Tensor, ""] | None:
    """How well dead latents reconstruct what living ones leave over; None where none is dead.

    The `aux_k` dead latents with the largest pre-activations do it (Gao et al. 2024, appendix A.2),
    *signed*: behind a ReLU a dead latent's encoder would get no gradient. Fewer dead latents than
    `aux_k` count proportionally less.
    """
    if dead is None or sae.config.aux_weight == 0:
        return None
    if dead.device.type == "cpu" and not dead.any():
        return None
    residual = (batch.target - reconstruction).detach()
    k = min(sae.config.aux_k, sae.config.d_sae)
    # only on a CPU may the number of dead latents shape the work without waiting for it
    some = dead.nonzero()[:, 0] if dead.device.type == "cpu" else slice(None)
    bias = sae.b_enc[some]
    encoder = sae.W_enc.T[some]
    if not sae.is_transcoder:
        bias = bias - encoder @ sae.b_dec
    values = torch.addmm(bias, batch.n, encoder.T)
    masked = values.masked_fill(~dead[some], float("-inf"))
    if values.shape[1] > k:
        chosen = masked.topk(k, dim=1, sorted=False).indices
        picked = torch.zeros_like(dead[some]).expand(values.shape).scatter(1, chosen, True)
        masked = masked.masked_fill(~picked, float("-inf"))
    z = torch.where(masked == float("-inf"), 0.0, values)
    share = (dead.sum() / k).clamp(max=1)
    return share * batch.error(residual - z @ sae.W_dec[some])
