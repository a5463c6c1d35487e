"""Words to numbers: a closed vocabulary, lower case, punctuation ignored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

__all__ = ["MASK", "PAD", "SPECIAL", "UNKNOWN", "WordTokenizer"]

PAD, UNKNOWN, MASK = 0, 1, 2
SPECIAL = ("<pad>", "<unk>", "<mask>")
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class WordTokenizer:
    """Splits an instruction into the words the policy knows.

    Attributes:
        vocabulary: every token's text, by index; the first three are `<pad>`, `<unk>`, `<mask>`.
        length: tokens per instruction; longer ones are cut.
    """

    vocabulary: tuple[str, ...]
    length: int

    def __post_init__(self) -> None:
        if self.vocabulary[:3] != SPECIAL or len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError(f"a vocabulary starts with {SPECIAL} and repeats no word")

    @classmethod
    def of(cls, instructions: Iterable[str], length: int) -> WordTokenizer:
        """The tokenizer that knows every word of these instructions."""
        words = sorted({word for text in instructions for word in _WORD.findall(text.lower())})
        return cls((*SPECIAL, *words), length)

    @cached_property
    def index(self) -> dict[str, int]:
        """Token text to index."""
        return {word: i for i, word in enumerate(self.vocabulary)}

    def encode(self, instruction: str) -> list[int]:
        """`length` indices, padded at the end; a word that is not known becomes `<unk>`."""
        known = [self.index.get(word, UNKNOWN) for word in _WORD.findall(instruction.lower())]
        cut = known[: self.length]
        return cut + [PAD] * (self.length - len(cut))

    def decode(self, tokens: Sequence[int]) -> str:
        """The words of a row of indices, without padding."""
        return " ".join(self.vocabulary[t] for t in tokens if t != PAD)
