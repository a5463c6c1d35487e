"""What taking something away did: no effect, some, destruction, or not to be told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from vlascope.counterfactuals.sensitivity import told_apart
from vlascope.statistics import Comparison, Estimate, holm, rate

__all__ = ["DESTRUCTION", "UNTOLD", "Verdict", "share", "verdicts"]

Verdict = Literal["zero", "changed", "destroyed", "unresolved"]

DESTRUCTION: Final = -0.5
"""A difference of success below this is destruction (arXiv 2603.19233: < -50 percentage points)."""


UNTOLD: Final = "no edit was played often enough to tell a zero effect from destruction"


def share(word: Verdict, judged: Iterable[tuple[Verdict, Comparison]]) -> Estimate | None:
    """How many arms have that verdict, of those that can have any; None where none can.

    An arm of so few pairs that not even destruction would have shown, or one that stays unresolved,
    speaks for no verdict: it is missing, not an arm without the verdict.
    """
    told = [v == word if v != "unresolved" and _telling(c) else None for v, c in judged]
    return rate(told) if any(t is not None for t in told) else None


def _telling(found: Comparison) -> bool:
    return found.detectable is not None and found.detectable <= -DESTRUCTION


def verdicts(comparisons: Sequence[Comparison], alpha: float) -> list[Verdict]:
    """Judge one family of arms, each against the paired baseline.

    `changed` and `destroyed` need an adjusted (Holm) p of at most `alpha` and an interval without
    zero. `zero` needs |difference| below the smallest difference that n pairs would have shown,
    that one to be at most the size of a destruction, and an interval that includes zero; everything
    else is `unresolved`.
    """
    ps = holm([c.p for c in comparisons])
    return [_verdict(c, p, alpha) for c, p in zip(comparisons, ps, strict=True)]


def _verdict(found: Comparison, p: float | None, alpha: float) -> Verdict:
    value = found.difference.value
    if value is None:
        return "unresolved"
    if told_apart(found.difference, p, alpha):
        return "destroyed" if value < DESTRUCTION else "changed"
    limit = found.detectable
    small = limit is not None and abs(value) < limit <= -DESTRUCTION
    return "zero" if small and not found.difference.resolved else "unresolved"
