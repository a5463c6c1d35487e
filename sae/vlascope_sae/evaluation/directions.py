"""The decoder's directions: how alike they are, and whether another run finds them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

from vlascope.errors import IncompatibleError
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.evaluation.schema import DecoderRedundancy, SeedStability

__all__ = ["decoder_redundancy", "largest_cosines", "matched_cosines", "seed_stability"]

_REDUNDANT: Final = (0.5, 0.7, 0.9)
_STABLE: Final = (0.5, 0.7, 0.9)
_BLOCK: Final = 2048


def decoder_redundancy(
    sae: SparseAutoencoder, name: str, *, alive: Tensor | None = None
) -> DecoderRedundancy:
    """Each direction's largest cosine with another.

    Args:
        sae: whose decoder.
        name: how to call it.
        alive: bool (d_sae,), look at these features alone: dead ones keep the random directions
            they began with.
    """
    rows = sae.W_dec.detach() if alive is None else sae.W_dec.detach()[alive]
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} directions cannot be alike; there must be two")
    found = largest_cosines(rows)
    return DecoderRedundancy(
        sae=name,
        features=len(rows),
        mean=float(found.mean()),
        median=float(found.median()),
        largest=float(found.max()),
        share_above=_shares(found, _REDUNDANT),
    )


def largest_cosines(rows: Float[Tensor, "f d"]) -> Float[Tensor, " f"]:
    """Of each row with any other, in blocks, so that no (f, f) matrix is ever held."""
    unit = normalize(rows.float(), dim=1)
    found = []
    for start in range(0, len(unit), _BLOCK):
        cosines = unit[start : start + _BLOCK] @ unit.T
        cosines.diagonal(start).fill_(-2)
        found.append(cosines.max(1).values)
    return torch.cat(found)


def seed_stability(
    sae: SparseAutoencoder, other: SparseAutoencoder, name: str, other_name: str
) -> SeedStability:
    """Match the directions of two autoencoders of one site one to one, and see how alike they are.

    Raises:
        IncompatibleError: they write activations of different widths.
    """
    if sae.config.width_out != other.config.width_out:
        raise IncompatibleError(
            f"{name} writes activations {sae.config.width_out} wide, {other_name} "
            f"{other.config.width_out}: compare two runs at one hook point"
        )
    found = matched_cosines(sae.W_dec.detach(), other.W_dec.detach())
    return SeedStability(
        sae=name,
        other=other_name,
        matched=len(found),
        mean=float(found.mean()),
        median=float(found.median()),
        share_above=_shares(found, _STABLE),
    )


def matched_cosines(first: Float[Tensor, "f d"], second: Float[Tensor, "g d"]) -> Tensor:
    """Cosines of the one-to-one matching with the largest sum (Kuhn 1955), in order of `first`.

    Unlike each row's nearest neighbour it never counts one direction twice. Holds all f x g
    cosines, and its time grows with the cube of the smaller side.
    """
    cosines = normalize(first.float(), dim=1) @ normalize(second.float(), dim=1).T
    mine, theirs = linear_sum_assignment(cosines.cpu().numpy(), maximize=True)
    return cosines.cpu()[torch.from_numpy(mine), torch.from_numpy(theirs)]


def _shares(values: Tensor, thresholds: Sequence[float]) -> dict[str, float]:
    return {f"{t}": float((values > t).double().mean()) for t in thresholds}
