"""Whether a policy's token counts depend on what it is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from vlascope.errors import VlascopeError

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter

__all__ = ["lengths_differ"]


def lengths_differ(adapter: VLAAdapter, prompts: Iterable[str]) -> bool:
    """Whether runs under these prompts differ in token counts that can be paired span by span.

    False where the adapter does not say for every pathway what its tokens carry, or cannot be told
    one of the prompts.

    Args:
        adapter: loaded.
        prompts: what it will be told; may hold the empty one.
    """
    example = adapter.example_observation()
    seen: set[frozenset[tuple[str, int]]] = set()
    try:
        for prompt in dict.fromkeys(prompts):
            spans = adapter.token_spans([replace(example, instruction=prompt)])
            if not {p.name for p in adapter.info.pathways} <= {at.split(".")[0] for at in spans}:
                return False
            seen.add(frozenset((at, rows[0].n_tokens) for at, rows in spans.items()))
    except VlascopeError:
        return False
    return len(seen) > 1
