"""Contrastive concepts: what each means, where it can be read, and which features stand for it."""

from vlascope_probes.concepts.labelling import Labels, episodes_of, label
from vlascope_probes.concepts.overview import find_directions, overview, places_of
from vlascope_probes.concepts.scoring import score_features
from vlascope_probes.concepts.vocabulary import Concept, Vocabulary, load_vocabulary

__all__ = [
    "Concept",
    "Labels",
    "Vocabulary",
    "episodes_of",
    "find_directions",
    "label",
    "load_vocabulary",
    "overview",
    "places_of",
    "score_features",
]
