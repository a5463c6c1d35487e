"""Is a cluster more than chance? Against value vectors turned at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import special_ortho_group
from torch import Tensor

from vlascope_probes.value_vectors.clusters import Cluster, find_cluster
from vlascope_probes.value_vectors.projection import project
from vlascope_probes.value_vectors.vocabulary import Vocabulary

__all__ = ["Strength", "cluster_strength", "written_alike"]


@dataclass(frozen=True)
class Strength:
    """How strongly a cluster's neurons write their word.

    Attributes:
        cosine: mean cosine between the members' value vectors and the word's embedding.
        null: the same of the clusters found after each random rotation, sorted.
        p: (1 + rotations at least as strong) / (1 + rotations).
    """

    cosine: float
    null: tuple[float, ...]
    p: float


def written_alike(cluster: Cluster, vectors: Callable[[int], Tensor], target: Tensor) -> float:
    """Mean cosine between the members' value vectors and `target`, (width,)."""
    rows = torch.stack([vectors(n.layer)[n.index].float().cpu() for n in cluster.neurons])
    return float((F.normalize(rows, dim=1) @ F.normalize(target.float().cpu(), dim=0)).mean())


def cluster_strength(
    vectors: Callable[[int], Tensor],
    layers: Sequence[int],
    vocabulary: Vocabulary,
    concept: str,
    *,
    size: int = 20,
    top: int = 5,
    rotations: int = 99,
    seed: int = 0,
) -> Strength:
    """Set a cluster against those found when all value vectors are turned together.

    A random rotation (Haar) keeps the vectors' norms and the angles between them and forgets what
    they have to do with words. Each of them goes through the same projection and search.
    """
    target = vocabulary.embedding(concept)

    def strength(turn: Tensor | None) -> float:
        def turned(layer: int) -> Tensor:
            found = vectors(layer).float()
            return found if turn is None else found @ turn.to(found)

        words = [project(turned(layer), vocabulary, layer=layer, k=top) for layer in layers]
        return written_alike(
            find_cluster(words, vocabulary, concept, size=size, top=top), turned, target
        )

    rng = np.random.default_rng(seed)
    observed = strength(None)
    turns = (_rotation(len(target), rng) for _ in range(rotations))
    null = tuple(sorted(strength(turn) for turn in turns))
    return Strength(observed, null, (1 + sum(n >= observed for n in null)) / (1 + rotations))


def _rotation(width: int, rng: np.random.Generator) -> Tensor:
    turn = special_ortho_group.rvs(width, random_state=rng)
    return torch.from_numpy(np.asarray(turn, dtype=np.float32))
