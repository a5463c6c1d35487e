"""A policy's vocabulary: an embedding a token, its text, and what action a token stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vlascope.errors import UnusableActivations, unknown_name

__all__ = ["Vocabulary", "action_value"]

_ACTION = re.compile(r"<action ([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)>")
_SPECIAL = re.compile(r"<(?!0x)[^<>]*>|\[[^\[\]]*\]|")
_LEADING = "\u0120\u2581 "
"""What tokenizers put before a word: GPT-2's and SentencePiece's marks, and a plain space."""


def action_value(token: str) -> float | None:
    """The action that a token `<action +0.004>` stands for; None for a word."""
    found = _ACTION.fullmatch(token)
    return None if found is None else float(found.group(1))


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The output embedding, (tokens, width), and each token's text.

    An adapter names the tokens that are bins of actions `<action VALUE>`.
    """

    matrix: Tensor
    tokens: Sequence[str]

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or len(self.matrix) != len(self.tokens):
            raise UnusableActivations(
                f"an embedding {tuple(self.matrix.shape)} for {len(self.tokens)} tokens; expected "
                "one row a token"
            )

    @cached_property
    def action_tokens(self) -> Tensor:
        """Whether each token is a bin of actions, bool (tokens,)."""
        return torch.tensor([action_value(token) is not None for token in self.tokens])

    @cached_property
    def special_tokens(self) -> Tensor:
        """Whether each token is empty or a control mark such as `<pad>`, bool (tokens,)."""
        special = [bool(_SPECIAL.fullmatch(token.strip(_LEADING))) for token in self.tokens]
        return torch.tensor(special) & ~self.action_tokens

    def shown(self, token: int) -> str:
        """A token's text for people: an action's value, or the word without its leading mark."""
        text = self.tokens[token]
        value = action_value(text)
        return f"action {value:+.3f}" if value is not None else text.strip(_LEADING)

    def ids(self, word: str) -> list[int]:
        """Every token that is this word, whatever its case and leading mark.

        Raises:
            UnknownName: no token is; near matches are listed. A word that the tokenizer splits
                into pieces has no token of its own.
        """
        found = self._by_word.get(word.strip().lower())
        if found is None:
            raise unknown_name("word of the vocabulary", word, self._by_word)
        return found

    def embedding(self, word: str) -> Tensor:
        """The mean embedding of the tokens of a word, float32 (width,)."""
        return self.matrix[self.ids(word)].float().mean(0)

    @cached_property
    def _by_word(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, token in enumerate(self.tokens):
            found.setdefault(token.strip(_LEADING).lower(), []).append(index)
        return found
