"""L0, FVU, dead features, firing densities and high-norm behaviour in one pass over rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from vlascope.errors import UnusableActivations
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.evaluation.deciles import NormDeciles
from vlascope_sae.evaluation.schema import Density, ReconstructionQuality
from vlascope_sae.evaluation.variance import Variance

__all__ = ["DENSITY_EDGES", "ReconstructionPass", "density", "evaluate_reconstruction"]

DENSITY_EDGES: Final = tuple(-7 + i / 2 for i in range(15))
"""log10 of the firing rate, from 1 in 10 million to always."""


class ReconstructionPass:
    """Sums over rows that stream by in batches of any size; memory does not grow with rows."""

    def __init__(self, sae: SparseAutoencoder) -> None:
        self._sae = sae
        self._variance = Variance()
        self._deciles = NormDeciles()
        self._fired = torch.zeros(sae.config.d_sae, dtype=torch.int64, device=sae.W_dec.device)

    @torch.no_grad()
    def add(
        self, x: Float[Tensor, "rows d"], target: Float[Tensor, "rows o"] | None = None
    ) -> None:
        """Encode, reconstruct and count some rows.

        Args:
            x: activations in their own units.
            target: for a transcoder, what they are to predict.

        Raises:
            UnusableActivations: numbers among them are not finite, or a transcoder has no target.
        """
        sae = self._sae
        if sae.is_transcoder and target is None:
            raise UnusableActivations("a transcoder is judged by what it predicts: give target too")
        rows = x.to(sae.W_dec)
        wanted = rows if target is None else target.to(sae.W_dec)
        for given in (rows, wanted):
            if not torch.isfinite(given).all():
                raise UnusableActivations(
                    f"{int((~torch.isfinite(given)).sum())} of the {given.numel()} numbers in "
                    "these rows are not finite; leave those rows out or record them again"
                )
        latents = sae.encode(rows)
        told = sae.decode(latents, like=rows)
        on = latents != 0
        self._fired += on.sum(0)
        self._variance.add(wanted, told)
        self._deciles.add(wanted, told, on.sum(1))

    @property
    def firing_rates(self) -> Float[Tensor, " f"]:
        """Share of rows in which each feature fired, float64."""
        return (self._fired.double() / max(self._variance.rows, 1)).cpu()

    def result(self, name: str) -> ReconstructionQuality:
        """What the rows so far amount to.

        Args:
            name: how to call the autoencoder (its folder).

        Raises:
            UnusableActivations: no rows, or all equal.
        """
        if self._variance.rows == 0 or not self._variance.total > 0:
            raise UnusableActivations(
                f"{self._variance.rows} rows without variance evaluate nothing; give rows that "
                "differ, of episodes that were not trained on"
            )
        rates, config = self.firing_rates, self._sae.config
        return ReconstructionQuality(
            sae=name,
            rows=self._variance.rows,
            d_in=config.d_in,
            d_sae=config.d_sae,
            l0=float(rates.sum()),
            fvu=self._variance.fvu,
            dead=float((rates == 0).double().mean()),
            density=density(rates),
            deciles=self._deciles.result(self._variance.mean),
        )


def evaluate_reconstruction(
    sae: SparseAutoencoder,
    batches: Iterable[Tensor | tuple[Tensor, Tensor | None]],
    name: str,
) -> ReconstructionQuality:
    """Evaluate on rows that come in batches: of held-out episodes, to mean anything.

    Args:
        sae: the autoencoder.
        batches: (rows, d) each; for a transcoder (rows, target) pairs.
        name: how to call it (its folder).

    Raises:
        UnusableActivations: no rows, equal rows, or rows that are not finite.
    """
    seen = ReconstructionPass(sae)
    for batch in batches:
        x, target = (batch, None) if isinstance(batch, Tensor) else batch
        seen.add(x, target)
    return seen.result(name)


def density(rates: Float[Tensor, " f"]) -> Density:
    """Histogram of log10 firing rates; features that never fired are counted apart."""
    alive = rates[rates > 0].double().log10()
    lowest, step = DENSITY_EDGES[0], DENSITY_EDGES[1] - DENSITY_EDGES[0]
    last = len(DENSITY_EDGES) - 2
    places = [min(max(math.floor((v - lowest) / step), 0), last) for v in alive.tolist()]
    counts = [0] * (last + 1)
    for place in places:
        counts[place] += 1
    return Density(edges=DENSITY_EDGES, counts=tuple(counts), never=len(rates) - len(alive))
