"""Neurons that write alike, and the group of them that is nearest to a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vlascope.errors import UnusableActivations
from vlascope_probes.value_vectors.projection import LayerWords, embeddings
from vlascope_probes.value_vectors.vocabulary import Vocabulary

__all__ = ["Cluster", "Neuron", "find_cluster"]

_POOL = 16
"""Clusters are sought among the neurons nearest to the word, this many times their size."""


@dataclass(frozen=True)
class Neuron:
    """One neuron of the language pathway, and how near its embedding is to the concept."""

    layer: int
    index: int
    cosine: float


@dataclass(frozen=True)
class Cluster:
    """Neurons that write alike.

    Attributes:
        concept: the word it was sought for.
        neurons: nearest to the concept first.
        score: cosine between the mean of the members' unit embeddings and the word's embedding.
    """

    concept: str
    neurons: tuple[Neuron, ...]
    score: float

    @property
    def by_layer(self) -> dict[int, tuple[int, ...]]:
        """Neuron indices by layer, in order."""
        layers = sorted({neuron.layer for neuron in self.neurons})
        return {
            layer: tuple(sorted(n.index for n in self.neurons if n.layer == layer))
            for layer in layers
        }


def find_cluster(
    layers: Sequence[LayerWords],
    vocabulary: Vocabulary,
    concept: str | Tensor,
    *,
    size: int = 20,
    top: int = 5,
) -> Cluster:
    """The cluster nearest to a word.

    Every neuron with its `size` - 1 nearest by cosine is a cluster (kNN in the space of semantic
    embeddings, arXiv 2509.00328); of those, the one whose mean is nearest to the word is taken.
    Sought among the 16 `size` neurons that are nearest to the word one by one; ties go to the
    earlier neuron.

    Args:
        layers: where to seek.
        vocabulary: what the neurons are read in.
        concept: a word that is one token, or an embedding (width,).
        size: neurons in a cluster.
        top: tokens that make a neuron's embedding.

    Raises:
        UnknownName: the word is no token of the vocabulary.
        UnusableActivations: fewer neurons than `size` write anything.
    """
    named = concept if isinstance(concept, str) else ""
    sought = vocabulary.embedding(concept) if isinstance(concept, str) else concept.float()
    target = F.normalize(sought, dim=0).cpu()
    near, at, rows = _nearest(layers, vocabulary, target, _POOL * size, top)
    if len(at) < size:
        raise UnusableActivations(
            f"a cluster of {size} neurons was asked for; {len(at)} write anything in layers "
            f"{[layer.layer for layer in layers]}: ask for fewer or for more layers"
        )
    groups = (rows @ rows.T).topk(size, dim=1).indices
    scores = F.normalize(rows[groups].mean(1), dim=1) @ target
    best = int(scores.argmax())
    members = sorted(groups[best].tolist(), key=lambda row: -float(near[row]))
    return Cluster(
        concept=named,
        neurons=tuple(Neuron(at[row][0], at[row][1], float(near[row])) for row in members),
        score=float(scores[best]),
    )


def _nearest(
    layers: Sequence[LayerWords], vocabulary: Vocabulary, target: Tensor, most: int, top: int
) -> tuple[Tensor, list[tuple[int, int]], Tensor]:
    """Cosines, (layer, neuron) and unit embeddings of the neurons nearest to `target`."""
    cosines, places, kept = torch.empty(0), torch.empty(0, 2, dtype=torch.long), None
    for layer in layers:
        first = 0
        for found in embeddings(layer, vocabulary, top=top):
            unit = F.normalize(found, dim=1)
            written = layer.written[first : first + len(unit)]
            index = torch.arange(first, first + len(unit))[written]
            first += len(unit)
            unit = unit[written.to(unit.device)].cpu()
            here = torch.stack([torch.full_like(index, layer.layer), index], 1)
            cosines = torch.cat([cosines, unit @ target])
            places = torch.cat([places, here])
            kept = unit if kept is None else torch.cat([kept, unit])
            order = cosines.sort(descending=True, stable=True).indices[:most]
            cosines, places, kept = cosines[order], places[order], kept[order]
    rows = kept if kept is not None else torch.empty(0, len(target))
    return cosines, [(int(a), int(b)) for a, b in places], rows
