"""What an autoencoder makes of rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch

from vlascope.errors import UnusableActivations
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.evaluation.variance import Variance
from vlascope_sae.training.source import Batch

__all__ = ["Fit", "fit_of"]


@dataclass(frozen=True)
class Fit:
    """How well rows are rebuilt, and by how many latents.

    Attributes:
        fvu: fraction of variance unexplained.
        l0: mean number of latents that fired per row.
        dead: share of the latents that fired in no row.
        density: deciles (0, 10, ..., 100%) over latents of the share of rows in which they fired.
        rows: rows looked at.
        dropped: rows left out for their norm.
    """

    fvu: float
    l0: float
    dead: float
    density: tuple[float, ...]
    rows: int
    dropped: int

    @property
    def numbers(self) -> dict[str, float]:
        """Single numbers, for a log."""
        return {n: v for n, v in asdict(self).items() if n != "density"}


@torch.no_grad()
def fit_of(sae: SparseAutoencoder, batches: Iterable[Batch], name: str = "") -> Fit:
    """The fit on some batches.

    Raises:
        UnusableActivations: there are no rows, or all are equal.
    """
    device = sae.W_dec.device
    variance = Variance()
    fired = torch.zeros(sae.config.d_sae, dtype=torch.int64, device=device)
    dropped = 0
    training = sae.training
    sae.eval()
    for batch in batches:
        x = batch.x.to(device, non_blocking=True)
        target = x if batch.target is None else batch.target.to(device, non_blocking=True)
        z = sae.encode(x)
        variance.add(target, sae.decode(z, like=x))
        fired += (z != 0).sum(0)
        dropped += batch.dropped
    sae.train(training)
    try:
        fvu = variance.fvu
    except ValueError as error:
        raise UnusableActivations(f"{name or 'validation'}: {error}") from error
    share = fired.double() / variance.rows
    deciles = torch.quantile(share, torch.linspace(0, 1, 11, dtype=share.dtype, device=device))
    return Fit(
        fvu=fvu,
        l0=float(share.sum()),
        dead=float((fired == 0).double().mean()),
        density=tuple(deciles.tolist()),
        rows=variance.rows,
        dropped=dropped,
    )
