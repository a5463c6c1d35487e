"""A small tokenizer that knows the zoo's words whole and can say anything else in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from vlascope_zoo.recipe import lessons

__all__ = ["tokenizer"]


def tokenizer(
    specials: dict[str, str],
    *,
    whole: Sequence[str] = (),
    begins: bool = True,
    ends: bool = False,
) -> PreTrainedTokenizerFast:
    """Byte-level BPE of the demonstrations' prompts.

    Args:
        specials: `bos_token` and so on, in the order of their ids.
        whole: pieces of text that are always one token.
        begins: every text starts with the `bos_token`.
        ends: every text ends with the `eos_token`.
    """
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        min_frequency=2,
        special_tokens=list(specials.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    said = lessons().prompts
    inner.train_from_iterator([*said, *(f" {text}" for text in said)] * 2, trainer)
    inner.add_tokens([AddedToken(text, normalized=False) for text in whole])
    first, last = specials.get("bos_token"), specials.get("eos_token")
    parts = [first if begins else None, "$A", last if ends else None]
    inner.post_processor = processors.TemplateProcessing(
        single=" ".join(part for part in parts if part),
        special_tokens=[
            (name, inner.token_to_id(name)) for name in (first, last) if name is not None
        ],
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, **specials)
