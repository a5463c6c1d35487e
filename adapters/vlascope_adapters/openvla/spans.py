"""Which tokens carry what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlascope.hooks import TokenSpans
from vlascope_adapters.openvla.preparation import Prompt

__all__ = ["prompt_spans", "same_for", "vision_spans"]

Spans = tuple[TokenSpans, ...]


def same_for(rows: int, lengths: Mapping[str, int]) -> Spans:
    """Spans of every row of a batch whose rows are alike."""
    return (TokenSpans.of_lengths(lengths),) * rows


def vision_spans(rows: int, backbone: Any, stream: str) -> dict[str, Spans]:
    """Of both towers and the projector: class and register tokens, then the patches.

    The projector sees patches alone.
    """
    patches = {stream: backbone.n_patches}
    names = ("vision", "vision_fused")
    spans = {
        name: same_for(rows, {**_prefix(tower), **patches})
        for name, tower in zip(names, backbone.towers.values(), strict=True)
    }
    return {**spans, "vision.projector": same_for(rows, patches)}


def prompt_spans(
    prompts: Sequence[Prompt], before: Mapping[str, int], after: Mapping[str, int]
) -> Spans:
    """Of the language model: padding on the left, <s>, then the prompt between other tokens.

    Args:
        prompts: one a row.
        before: lengths of what stands between <s> and the prompt.
        after: lengths of what follows it.
    """
    longest = max(len(prompt.ids) for prompt in prompts)
    return tuple(
        TokenSpans.of_lengths(
            {
                "padding": longest - len(prompt.ids),
                "bos": 1,
                **before,
                "prompt.opening": prompt.words[0] - 1,
                "instruction": prompt.words[1] - prompt.words[0],
                "prompt.closing": len(prompt.ids) - prompt.words[1],
                **after,
            }
        )
        for prompt in prompts
    )


def _prefix(tower: Any) -> dict[str, int]:
    """The tokens of a tower that are not patches."""
    registers = tower.num_reg_tokens
    return {"class": tower.num_prefix_tokens - registers, "register": registers}
