"""The text that pi0 and pi0.5 read, and which of its tokens say what."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.checkpoint import Processors

__all__ = ["HEAD", "TAIL", "Parts", "offline_processors", "pi0_parts", "pi05_parts", "token_counts"]

HEAD, MIDDLE, TAIL = "prompt.start", "prompt.middle", "prompt.end"
"""The words around what the user says: before it (at least `<bos>`), between, and at the end."""

Parts = Sequence[tuple[str, str]]
"""A prompt cut into named pieces of text, which laid end to end give it back."""

_PI05 = re.compile(r"(Task: )(.*)(, State: )([-\d ]*)(;\nAction: )", re.DOTALL)


def pi0_parts(prompt: str) -> Parts:
    r"""`pick up the cup\n`."""
    words = prompt.removesuffix("\n")
    return (("instruction", words), (TAIL, prompt[len(words) :]))


def pi05_parts(prompt: str) -> Parts:
    r"""`Task: pick up the cup, State: 128 3 255;\nAction: `, in which the state is text."""
    found = _PI05.fullmatch(prompt)
    if found is None:
        return (("instruction", prompt),)
    names = (HEAD, "instruction", MIDDLE, "state", TAIL)
    return tuple(zip(names, found.groups(), strict=True))


def token_counts(step: Any, prompt: str, parts: Parts) -> dict[str, int]:
    """How many tokens each part of a prompt has, in order, `padding` included.

    A token belongs to the part that most of its characters lie in. Where a tokenizer does not
    tell which characters a token stands for, the whole prompt is one part called `prompt`.

    Args:
        step: upstream's tokenizer step.
        prompt: as that step gets it.
        parts: the prompt in pieces.
    """
    tokenizer = step.input_tokenizer
    options = {"max_length": step.max_length, "truncation": step.truncation}
    if tokenizer.is_fast:
        counts = _counts(tokenizer(prompt, **options, **_TELLING), parts)
    else:
        counts = {"prompt": len(tokenizer(prompt, **options)["input_ids"])}
    return {**counts, "padding": step.max_length - sum(counts.values())}


def offline_processors(
    config: Any, statistics: dict[str, dict[str, Tensor]], tokenizer: Any = None
) -> Processors:
    """Upstream's pipelines with another tokenizer in place of PaliGemma's, which is gated.

    By default it is one made here. Saved, they name PaliGemma's, as those on the hub do.
    """
    recipe: Any = importlib.import_module(f"lerobot.policies.{config.type}.processor_{config.type}")
    if tokenizer is None:
        tokenizer = tiny.byte_tokenizer(
            ("<pad>", "<eos>", "<bos>"), pad="<pad>", eos="<eos>", bos="<bos>"
        )
    theirs = recipe.TokenizerProcessorStep

    def step(**options: Any) -> Any:
        made = theirs(tokenizer=tokenizer, **options)
        made.tokenizer = None
        return made

    recipe.TokenizerProcessorStep = step
    try:
        make = getattr(recipe, f"make_{config.type}_pre_post_processors")
        return Processors(*make(config, statistics))
    finally:
        recipe.TokenizerProcessorStep = theirs


_TELLING = {"return_offsets_mapping": True, "return_special_tokens_mask": True}


def _counts(told: Any, parts: Parts) -> dict[str, int]:
    ends, end = [], 0
    for _, text in parts:
        end += len(text)
        ends.append(end)
    counts = {HEAD: 0} | {name: 0 for name, _ in parts} | {TAIL: 0}
    words_seen = False
    for (start, stop), special in zip(
        told["offset_mapping"], told["special_tokens_mask"], strict=True
    ):
        if special:
            counts[TAIL if words_seen else HEAD] += 1
            continue
        words_seen = True
        starts = [0, *ends[:-1]]
        inside = [min(stop, e) - max(start, s) for s, e in zip(starts, ends, strict=True)]
        most = max(range(len(parts)), key=lambda part: (inside[part], part))
        counts[parts[most][0]] += 1
    return counts
