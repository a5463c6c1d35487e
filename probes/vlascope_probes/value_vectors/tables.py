"""Value vectors as rows of tables, for the command line, JSON and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from vlascope.sections import Cell, Table
from vlascope_probes.value_vectors.clusters import Cluster
from vlascope_probes.value_vectors.rotation import Strength
from vlascope_probes.value_vectors.share import Share
from vlascope_probes.value_vectors.speech import Speech
from vlascope_probes.value_vectors.vocabulary import action_value

__all__ = ["cluster_rows", "share_table", "token_rows"]


def token_rows(
    speech: Speech,
    layers: Sequence[int],
    *,
    word: str | None = None,
    neurons: int = 20,
) -> list[dict[str, Any]]:
    """The strongest neurons of some layers, each with its tokens, logits and action values.

    With a word, those that write it among their top tokens, by its logit; else by top logit.

    Raises:
        UnknownName: the word is no token of the vocabulary.
    """
    wanted = None if word is None else set(speech.vocabulary.ids(word))
    found: list[tuple[float, int, int]] = []
    for layer in layers:
        at = speech.layers[layer]
        for index in at.written.nonzero()[:, 0].tolist():
            logits = at.logits[index].tolist()
            if wanted is None:
                found.append((logits[0], layer, index))
                continue
            tokens = at.tokens[index].tolist()
            hits = [logit for t, logit in zip(tokens, logits, strict=True) if t in wanted]
            found += [(hits[0], layer, index)] if hits else []
    found.sort(key=lambda row: (-row[0], row[1:]))
    return [_row(speech, layer, index) for _, layer, index in found[:neurons]]


def _row(speech: Speech, layer: int, index: int) -> dict[str, Any]:
    at, vocabulary = speech.layers[layer], speech.vocabulary
    tokens = [
        {
            "id": token,
            "token": vocabulary.shown(token),
            "action": action_value(vocabulary.tokens[int(token)]),
            "logit": logit,
        }
        for token, logit in zip(at.tokens[index].tolist(), at.logits[index].tolist(), strict=True)
    ]
    return {"layer": layer, "neuron": index, "norm": float(at.norms[index]), "tokens": tokens}


def cluster_rows(
    speech: Speech,
    found: Mapping[str, Mapping[str, Cluster]],
    strengths: Mapping[str, Strength],
) -> list[dict[str, Any]]:
    """Clusters by concept and depth, fit for JSON."""
    rows = []
    for concept, by_depth in found.items():
        for depth, cluster in by_depth.items():
            strength = strengths.get(concept) if depth == "full" else None
            rows.append(
                {
                    "concept": concept,
                    "depth": depth,
                    "neurons": {str(at): list(n) for at, n in cluster.by_layer.items()},
                    "score": cluster.score,
                    "cosine": None if strength is None else strength.cosine,
                    "p": None if strength is None else strength.p,
                    "tokens": _common_tokens(speech, cluster),
                }
            )
    return rows


def _common_tokens(speech: Speech, cluster: Cluster, most: int = 8) -> list[str]:
    """Tokens among the members' first five, the commonest first."""
    counts: Counter[str] = Counter()
    for neuron in cluster.neurons:
        tokens = speech.layers[neuron.layer].tokens[neuron.index, :5].tolist()
        counts.update(speech.vocabulary.shown(token) for token in tokens)
    return [token for token, _ in counts.most_common(most)]


def share_table(shares: Sequence[Share]) -> Table:
    """Shares of action tokens by layer, beside chance."""
    return Table(
        title="Actions among what neurons write",
        caption="Shares of the top tokens of every neuron that writes anything; `first`: neurons "
        "whose strongest token is an action, with Wilson's interval; chance: the share of the "
        "vocabulary that is actions.",
        columns=("layer", "neurons", "actions", "words", "special", "first", "chance"),
        rows=tuple(
            (
                s.layer,
                s.neurons,
                s.actions,
                s.words,
                s.special,
                Cell(estimate=s.first),
                s.chance,
            )
            for s in shares
        ),
    )
