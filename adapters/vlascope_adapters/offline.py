"""What `tiny` policies are built with, without a network: a robot, a tokenizer, a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from vlascope_adapters.robots import ROBOTS

__all__ = ["ROBOT", "byte_tokenizer", "seeded"]

ROBOT = ROBOTS["metaworld"].seen_at(96, render="fast")
"""Tiny policies have the shapes of the simulator that is there without a download."""

_WORDS = (
    "pick up the red block open the drawer push the button close the door turn the faucet left "
    "right reach the green blue ball press the handle down task state action"
)


def byte_tokenizer(
    specials: Sequence[str],
    *,
    bos: str | None = None,
    eos: str | None = None,
    pad: str | None = None,
    unk: str | None = None,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of about 330 entries, made here; it can say anything.

    With `bos`, every text starts with it.
    """
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320 + len(specials),
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([_WORDS] * 4, trainer)
    if bos is not None:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A $B",
            special_tokens=[(bos, inner.token_to_id(bos))],
        )
    named = {"bos_token": bos, "eos_token": eos, "pad_token": pad, "unk_token": unk}
    given = {key: value for key, value in named.items() if value is not None}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **given)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from `seed`, and leave torch's own generator as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        yield
