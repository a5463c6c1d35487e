"""All that a policy's language backbone writes: every layer's neurons read in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlascope.errors import CapabilityMissing
from vlascope.hooks import Pathway
from vlascope_probes.value_vectors.projection import LayerWords, project
from vlascope_probes.value_vectors.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

    from vlascope.adapter import VLAAdapter

__all__ = ["Speech", "language_pathway", "speech_of"]


@dataclass(frozen=True, eq=False)
class Speech:
    """Every layer's neurons in words.

    Attributes:
        pathway: the language pathway's name.
        vocabulary: what they are read in.
        layers: by depth.
        vectors: gives a layer's value vectors, (neurons, width).
    """

    pathway: str
    vocabulary: Vocabulary
    layers: Sequence[LayerWords]
    vectors: Callable[[int], Tensor]

    @property
    def depth(self) -> int:
        """How many layers there are."""
        return len(self.layers)


def language_pathway(adapter: VLAAdapter) -> Pathway:
    """The pathway whose FFN neurons `value_vectors` gives.

    Raises:
        CapabilityMissing: the policy has no vocabulary or no value vectors.
    """
    missing = {"unembedding", "value_vectors"} - adapter.capabilities
    if missing:
        raise CapabilityMissing(
            f"{adapter.info.name} declares no {' and no '.join(sorted(missing))}: its neurons "
            "cannot be read in words"
        )
    shape = tuple(adapter.value_vectors(0).shape)
    fitting = [p for p in adapter.info.pathways if (p.ffn_width, p.width) == shape]
    named = [p for p in fitting if p.name == "vlm"]
    if not fitting:
        raise CapabilityMissing(f"no pathway of {adapter.info.name} has FFNs of {shape}")
    return (named or fitting)[0]


def speech_of(adapter: VLAAdapter, *, k: int = 10) -> Speech:
    """Project every layer's value vectors, keeping `k` tokens a neuron.

    Raises:
        CapabilityMissing: the policy has no vocabulary or no value vectors.
    """
    pathway = language_pathway(adapter)
    vocabulary = Vocabulary(*adapter.unembedding())
    layers = [
        project(adapter.value_vectors(layer), vocabulary, layer=layer, k=k)
        for layer in range(pathway.n_layers)
    ]
    return Speech(pathway.name, vocabulary, layers, adapter.value_vectors)
