"""Value vectors onto the vocabulary: the strongest tokens of every neuron, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vlascope.errors import IncompatibleError
from vlascope_probes.value_vectors.vocabulary import Vocabulary

__all__ = ["LayerWords", "embeddings", "neuron_batches", "project"]

_TOKENS_AT_A_TIME = 8192
_NEURONS_AT_A_TIME = 4096


@dataclass(frozen=True, eq=False)
class LayerWords:
    """What the neurons of one layer write.

    Attributes:
        layer: of the language pathway.
        tokens: int64 (neurons, k), the k tokens of the largest logits, largest first.
        logits: float32 (neurons, k).
        norms: float32 (neurons,), of the value vectors; 0 for a neuron that writes nothing.
    """

    layer: int
    tokens: Tensor
    logits: Tensor
    norms: Tensor

    @property
    def written(self) -> Tensor:
        """Whether each neuron writes anything at all, bool (neurons,)."""
        return self.norms > 0


def project(vectors: Tensor, vocabulary: Vocabulary, *, layer: int = 0, k: int = 10) -> LayerWords:
    """The top tokens of value vectors (neurons, width): logits = vectors @ matrix.T, no norm.

    At most 8,192 tokens times 4,096 neurons are held at a time.

    Raises:
        IncompatibleError: vectors and embeddings differ in width.
    """
    if vectors.ndim != 2 or vectors.shape[1] != vocabulary.matrix.shape[1]:
        raise IncompatibleError(
            f"value vectors {tuple(vectors.shape)} do not fit a vocabulary of width "
            f"{vocabulary.matrix.shape[1]}; expected (neurons, width)"
        )
    k = min(k, len(vocabulary.tokens))
    parts = [_top(rows, vocabulary, k) for rows in neuron_batches(vectors)]
    return LayerWords(
        layer=layer,
        tokens=torch.cat([tokens for tokens, _ in parts]),
        logits=torch.cat([logits for _, logits in parts]),
        norms=torch.cat([rows.norm(dim=1) for rows in neuron_batches(vectors)]).cpu(),
    )


def neuron_batches(vectors: Tensor) -> Iterator[Tensor]:
    """Rows of (neurons, width), float32, some thousand at a time."""
    for start in range(0, len(vectors), _NEURONS_AT_A_TIME):
        yield vectors[start : start + _NEURONS_AT_A_TIME].float()


def embeddings(words: LayerWords, vocabulary: Vocabulary, *, top: int = 5) -> Iterator[Tensor]:
    """Semantic embeddings, float32 (some neurons, width) at a time, in order.

    A neuron's is the mean of its `top` tokens' embeddings, weighted by the softmax of their logits.
    """
    for start in range(0, len(words.tokens), _NEURONS_AT_A_TIME):
        stop = start + _NEURONS_AT_A_TIME
        tokens = words.tokens[start:stop, :top].to(vocabulary.matrix.device)
        shares = words.logits[start:stop, :top].softmax(-1)
        found = sum(
            shares[:, place, None].to(tokens.device) * vocabulary.matrix[tokens[:, place]].float()
            for place in range(tokens.shape[1])
        )
        assert isinstance(found, Tensor)
        yield found * words.written[start:stop, None].to(found)


def _top(rows: Tensor, vocabulary: Vocabulary, k: int) -> tuple[Tensor, Tensor]:
    """Tokens and logits (neurons, k); the vocabulary is passed once, a slice at a time."""
    best = rows.new_empty(len(rows), 0)
    which = torch.empty(len(rows), 0, dtype=torch.long, device=rows.device)
    for start in range(0, len(vocabulary.matrix), _TOKENS_AT_A_TIME):
        part = vocabulary.matrix[start : start + _TOKENS_AT_A_TIME].to(rows)
        logits = torch.cat([best, rows @ part.T], 1)
        here = torch.arange(start, start + len(part), device=rows.device).expand(len(rows), -1)
        order = logits.topk(min(k, logits.shape[1]), dim=1)
        best, which = order.values, torch.cat([which, here], 1).gather(1, order.indices)
    return which.cpu(), best.cpu()
