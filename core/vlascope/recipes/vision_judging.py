"""Which perturbations matter: success beside clean episodes, displacement beside a control."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlascope.statistics import Comparison, Pair, compare, holm

__all__ = ["Effect", "Judged", "judge"]


@dataclass(frozen=True)
class Effect:
    """A paired difference and its p-value, adjusted over the family.

    Attributes:
        p: two-sided; None where no pair exists.
        found: p at most alpha, and the interval leaves out zero; of displacements only what moves
            farther than the control.
    """

    comparison: Comparison
    p: float | None
    found: bool


@dataclass(frozen=True)
class Judged:
    """One arm.

    Attributes:
        success: rate, against the clean baseline.
        moved: displacement from the clean baseline in metres, against the control's.
    """

    arm: str
    success: Effect
    moved: Effect


def judge(
    success: Mapping[str, Sequence[Pair]], moved: Mapping[str, Sequence[Pair]], alpha: float = 0.05
) -> list[Judged]:
    """Judge a family of arms; p-values are adjusted (Holm) over it, for either measure.

    Args:
        success: by arm, its success and the baseline's.
        moved: by the same arms, their displacement and the control's, in metres.
        alpha: level of the family.
    """
    first = _effects([compare(pairs, binary=True) for pairs in success.values()], alpha)
    second = _effects([compare(moved[arm], binary=False) for arm in success], alpha, least=0.0)
    return [Judged(a, s, m) for a, s, m in zip(success, first, second, strict=True)]


def _effects(
    comparisons: Sequence[Comparison], alpha: float, *, least: float = -math.inf
) -> list[Effect]:
    ps = holm([c.p for c in comparisons])
    return [
        Effect(c, p, p is not None and p <= alpha and _clear(c, least))
        for c, p in zip(comparisons, ps, strict=True)
    ]


def _clear(comparison: Comparison, least: float) -> bool:
    value = comparison.difference.value
    return comparison.difference.resolved and value is not None and value > least
