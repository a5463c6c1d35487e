"""An autoencoder on episodes it has not seen, with the episodes as the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vlascope.errors import UnusableActivations
from vlascope.statistics import Estimate, rate
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.evaluation.ratios import bootstrap_ratio

__all__ = ["HeldOut", "held_out_fit"]

_BLOCK = 8192


@dataclass(frozen=True)
class HeldOut:
    """Fraction of variance unexplained, mean number of latents that fire, share of silent ones."""

    fvu: Estimate
    l0: Estimate
    silent: Estimate


@torch.no_grad()
def held_out_fit(
    sae: SparseAutoencoder, episodes: Sequence[Float[Tensor, "rows d"]], name: str
) -> HeldOut:
    """Judge on rows of held-out episodes, one tensor each; variance is about their common mean.

    Raises:
        UnusableActivations: all rows are equal.
    """
    mean = torch.cat(list(episodes)).double().mean(0)
    errors, spreads, counts, rows = [], [], [], []
    fired = torch.zeros(sae.config.d_sae, dtype=torch.int64)
    for x in episodes:
        error, on = 0.0, torch.zeros_like(fired)
        for part in torch.split(x.to(sae.W_dec.device), _BLOCK):
            z = sae.encode(part)
            error += float((part.double() - sae.decode(z, like=part).double()).square().sum())
            on += (z != 0).sum(0).cpu()
        fired += on
        errors.append(error)
        spreads.append(float((x.double() - mean).square().sum()))
        counts.append(float(on.sum()))
        rows.append(float(len(x)))
    if not sum(spreads) > 0:
        raise UnusableActivations(
            f"{name}: all {int(sum(rows))} held-out rows are equal: there is no variance to explain"
        )
    return HeldOut(
        bootstrap_ratio(errors, spreads),
        bootstrap_ratio(counts, rows),
        rate((fired == 0).tolist()),
    )
