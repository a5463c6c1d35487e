"""Features that mean nearly the same (decoder cosine) or come together (co-activation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vlascope.errors import IncompatibleError
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.features.index import FeatureIndex
from vlascope_sae.features.schema import fingerprint
from vlascope_sae.features.traces import fired_at

__all__ = ["CoActivation", "Neighbour", "co_activation", "nearest_by_cosine"]

MOST_FEATURES: Final = 1024
"""Features counted in one pass over the traces, so that counts stay within memory."""


class Neighbour(NamedTuple):
    """Another feature, and how near it is."""

    feature: int
    similarity: float


def nearest_by_cosine(sae: SparseAutoencoder, feature: int, n: int = 10) -> list[Neighbour]:
    """The features whose decoder rows point most nearly the same way."""
    directions = torch.nn.functional.normalize(sae.W_dec.detach().float(), dim=1)
    return _nearest(directions @ directions[feature], feature, n)


def check_same(index: FeatureIndex, sae: SparseAutoencoder) -> None:
    """That an autoencoder is the one indexed.

    Raises:
        IncompatibleError: it is another one.
    """
    found = fingerprint(sae)
    if found != index.manifest.sae_hash:
        raise IncompatibleError(
            f"{index.path} is of autoencoder {index.manifest.sae_hash[:12]}, not of {found[:12]}: "
            "features of the same number have nothing in common; build the index again"
        )


@dataclass(frozen=True, eq=False)
class CoActivation:
    """In how many instants (episode, step, chunk) features fired together.

    Attributes:
        features: those asked for.
        together: (len(features), all features), counts.
        fired: (all features,), counts of each alone.
        instants: how many there were.
    """

    features: tuple[int, ...]
    together: Float[Tensor, "p f"]
    fired: Float[Tensor, " f"]
    instants: int

    def nearest(self, feature: int, n: int = 10) -> list[Neighbour]:
        """By n_ij / sqrt(n_i n_j), the cosine of the two rows of firings."""
        both = self.together[self.features.index(feature)]
        scale = (self.fired[feature] * self.fired).sqrt().clamp_min(1.0)
        return [x for x in _nearest(both / scale, feature, n) if x.similarity > 0]


def co_activation(index: FeatureIndex, features: Sequence[int]) -> CoActivation:
    """Count over the traces, one episode in memory at a time; exact for the features asked for.

    Raises:
        ValueError: more features are asked for than fit in bounded memory.
    """
    if len(features) > MOST_FEATURES:
        raise ValueError(
            f"co-activation counts at most {MOST_FEATURES} features against all in one pass; "
            f"{len(features)} were given: ask for fewer, several times"
        )
    chosen = list(features)
    together = torch.zeros(len(chosen), index.manifest.features, dtype=torch.float64)
    fired = torch.zeros(index.manifest.features, dtype=torch.float64)
    instants = 0
    for number in range(len(index.episodes)):
        on = fired_at(index.trace_path(number))
        together += on[:, chosen].T @ on
        fired += on.sum(0)
        instants += len(on)
    return CoActivation(tuple(chosen), together, fired, instants)


def _nearest(similarity: Tensor, feature: int, n: int) -> list[Neighbour]:
    others = similarity.clone()
    others[feature] = -torch.inf
    values, at = others.topk(min(n, len(others) - 1))
    return [Neighbour(int(i), float(v)) for i, v in zip(at, values, strict=True)]
