"""The analysis: read the neurons in words, find clusters, and offer edits that hold them."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar

from pydantic import Field

from vlascope.sections import Block, Prose, Table
from vlascope.store.durable import write_atomically
from vlascope.study.analysis import Analysis, AnalysisContext, AnalysisResult
from vlascope_probes.value_vectors.clusters import Cluster, find_cluster
from vlascope_probes.value_vectors.holding import Depth, hold_cluster, layers_of, matched_random
from vlascope_probes.value_vectors.rotation import Strength, cluster_strength
from vlascope_probes.value_vectors.share import share_of_actions
from vlascope_probes.value_vectors.speech import Speech, speech_of
from vlascope_probes.value_vectors.tables import cluster_rows, share_table

__all__ = ["ValueVectors", "held_key", "random_key"]


def held_key(concept: str, depth: str, value: float) -> str:
    """The key of the edits that hold a cluster."""
    return f"{concept} {depth} {value:g}"


def random_key(concept: str, draw: int, value: float) -> str:
    """The key of the edits that hold as many random neurons."""
    return f"{concept} random{draw} {value:g}"


class ValueVectors(Analysis):
    """Clusters of FFN neurons by word, offered as `clamp` edits beside random neurons.

    Attributes:
        concepts: words, each one token of the policy's vocabulary.
        size: neurons in a cluster.
        values: what they are held at.
        depths: where clusters are sought: the first half of the layers, the second, or all.
        draws: random sets of as many neurons per layer, which together write as much.
        rotations: random rotations that a cluster is set against; 0 for none.
        seed: of the random sets and rotations.
    """

    kind: ClassVar[str] = "value_vectors"

    concepts: Annotated[tuple[str, ...], Field(min_length=1)]
    size: Annotated[int, Field(ge=1)] = 20
    values: Annotated[tuple[float, ...], Field(min_length=1)] = (2.0, 6.0, 20.0)
    depths: Annotated[tuple[Depth, ...], Field(min_length=1)] = ("full", "early", "late")
    draws: Annotated[int, Field(ge=0)] = 3
    rotations: Annotated[int, Field(ge=0)] = 99
    seed: Annotated[int, Field(ge=0)] = 0

    def run(self, context: AnalysisContext) -> AnalysisResult:
        """Read, cluster, and write `clusters.json`; the policy's weights are all it needs."""
        speech = speech_of(context.adapter)
        edits: dict[str, tuple[dict[str, Any], ...]] = {}
        found: dict[str, dict[str, Cluster]] = {}
        strengths: dict[str, Strength] = {}
        for concept in self.concepts:
            context.say(f"value vectors: neurons that write {concept!r}")
            found[concept] = self._clusters(speech, concept)
            edits |= self._edits(speech, concept, found)
            if self.rotations and "full" in self.depths:
                strengths[concept] = self._strength(speech, concept)
        rows = cluster_rows(speech, found, strengths)
        text = json.dumps({"schema": "vlascope.value_clusters/1", "clusters": rows}, indent=1)
        write_atomically(context.folder / "clusters.json", text.encode())
        return AnalysisResult(
            edits=edits,
            sentences=tuple(_sentence(c, self.size, s) for c, s in strengths.items()),
            blocks=(_table(rows), *self._notes(speech)),
            unresolved=(
                "A cluster's word says what its neurons add to the logits; whether the policy "
                "reads that is shown only by what holding them does.",
            ),
            data={"clusters": rows},
        )

    def _clusters(self, speech: Speech, concept: str) -> dict[str, Cluster]:
        found: dict[str, Cluster] = {}
        for depth in self.depths:
            layers = [speech.layers[layer] for layer in layers_of(depth, speech.depth)]
            found[depth] = find_cluster(layers, speech.vocabulary, concept, size=self.size)
        return found

    def _edits(
        self, speech: Speech, concept: str, found: dict[str, dict[str, Cluster]]
    ) -> dict[str, tuple[dict[str, Any], ...]]:
        edits = {}
        for depth, cluster in found[concept].items():
            for value in self.values:
                hold = hold_cluster(cluster, speech.pathway, value)
                edits[held_key(concept, depth, value)] = hold.edits()
                for draw in range(self.draws if depth == self.depths[0] else 0):
                    other = matched_random(hold, speech.vectors, seed=self.seed + draw)
                    edits[random_key(concept, draw, value)] = other.edits()
        return edits

    def _strength(self, speech: Speech, concept: str) -> Strength:
        return cluster_strength(
            speech.vectors,
            range(speech.depth),
            speech.vocabulary,
            concept,
            size=self.size,
            rotations=self.rotations,
            seed=self.seed,
        )

    def _notes(self, speech: Speech) -> tuple[Block, ...]:
        if not bool(speech.vocabulary.action_tokens.any()):
            return (Prose(text="No token of this vocabulary stands for an action."),)
        return (share_table(share_of_actions(speech)),)


def _sentence(concept: str, size: int, strength: Strength) -> str:
    best = strength.null[-1]
    return (
        f"The {size} neurons nearest to `{concept}` write it with a mean cosine of "
        f"{strength.cosine:.2f}; after {len(strength.null)} random rotations of all value vectors "
        f"the nearest reach {best:.2f} at most (p = {strength.p:.3g})."
    )


def _table(rows: list[dict[str, Any]]) -> Table:
    return Table(
        title="Clusters",
        caption="Neurons whose semantic embeddings are nearest to each word, and the tokens that "
        "they write most strongly. p: against the same search after random rotations.",
        columns=("word", "layers", "neurons by layer", "cosine", "p", "tokens"),
        rows=tuple(
            (
                row["concept"],
                row["depth"],
                ", ".join(f"{layer}: {len(n)}" for layer, n in row["neurons"].items()),
                row["score"],
                row["p"],
                ", ".join(row["tokens"]),
            )
            for row in rows
        ),
    )
