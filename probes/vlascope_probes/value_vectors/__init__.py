"""FFN value vectors: what neurons write, in words, and what happens when they are held.

FFN(x) = sum_i f_i(x) w_i; the value vector w_i of neuron i is read through the output embedding
as it is, without a norm: logits = E w_i (arXiv 2509.00328).
"""

from __future__ import annotations

from vlascope_probes.value_vectors.clusters import Cluster, find_cluster
from vlascope_probes.value_vectors.holding import Hold, hold_cluster, layers_of, matched_random
from vlascope_probes.value_vectors.projection import LayerWords, project
from vlascope_probes.value_vectors.rotation import Strength, cluster_strength
from vlascope_probes.value_vectors.share import Share, share_of_actions
from vlascope_probes.value_vectors.speech import Speech, speech_of
from vlascope_probes.value_vectors.vocabulary import Vocabulary, action_value

__all__ = [
    "Cluster",
    "Hold",
    "LayerWords",
    "Share",
    "Speech",
    "Strength",
    "Vocabulary",
    "action_value",
    "cluster_strength",
    "find_cluster",
    "hold_cluster",
    "layers_of",
    "matched_random",
    "project",
    "share_of_actions",
    "speech_of",
]
