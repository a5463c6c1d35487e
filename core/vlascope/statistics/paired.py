"""Comparing two arms on the same tasks and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar

from vlascope.statistics.detectable import (
    DETECTABLE_MEAN,
    DETECTABLE_RATE,
    detectable_mean,
    detectable_rate,
)
from vlascope.statistics.estimates import CONFIDENCE, Comparison, Estimate
from vlascope.statistics.proportions import paired_score_interval
from vlascope.statistics.resampling import bootstrap_mean

__all__ = ["Pair", "compare", "mcnemar_p", "sign_flip_p"]

SCORE = "paired score interval (Tango 1998)"


@dataclass(frozen=True)
class Pair:
    """Two arms' values in one (task, seed); None where an arm has none."""

    task: str
    arm: float | None
    control: float | None


def compare(
    pairs: Sequence[Pair], *, binary: bool, seed: int = 0, confidence: float = CONFIDENCE
) -> Comparison:
    """Arm minus control over the pairs in which both have a value.

    Binary values: exact McNemar test; bootstrap interval, or Tango's score interval where the
    bootstrap has no width or there is one task only. Others: sign-flip test, bootstrap interval.

    Args:
        pairs: one per (task, seed).
        binary: whether values are 0 or 1.
        seed: of the resampling.
        confidence: coverage of the interval.
    """
    known = [p for p in pairs if p.arm is not None and p.control is not None]
    by_task: dict[str, list[float]] = {}
    for pair in known:
        by_task.setdefault(pair.task, []).append(_difference(pair))
    spread = bootstrap_mean(by_task, seed=seed, confidence=confidence)
    spread = spread.model_copy(update={"missing": len(pairs) - len(known)})
    differences = [d for values in by_task.values() for d in values]
    if not binary:
        return Comparison(
            difference=spread,
            p=sign_flip_p(differences, seed=seed),
            test="sign-flip permutation test",
            detectable=detectable_mean(differences),
            detectable_method=DETECTABLE_MEAN,
        )
    gained, lost = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    n = len(differences)
    return Comparison(
        difference=_with_score(spread, by_task, gained, lost, confidence),
        p=mcnemar_p(gained, lost) if n else None,
        test="exact McNemar test",
        detectable=detectable_rate(n, round((gained + lost) / n, 3)) if n else None,
        detectable_method=DETECTABLE_RATE,
    )


def mcnemar_p(gained: int, lost: int) -> float:
    """Exact two-sided McNemar p from the discordant pairs alone; 1 where there are none."""
    if gained + lost == 0:
        return 1.0
    return float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue)


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float | None:
    """Two-sided p that the mean difference is zero, by flipping signs (Fisher 1935).

    Exact where there are few enough pairs to try every flip, else from 9,999 draws.
    """
    values = np.asarray(differences, np.float64)
    if len(values) == 0:
        return None
    if not values.any():
        return 1.0
    if len(values) == 1:
        return None
    result = permutation_test(
        (values,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _with_score(
    spread: Estimate, tasks: Mapping[str, Sequence[float]], gained: int, lost: int, level: float
) -> Estimate:
    """The score interval where the bootstrap cannot speak."""
    if spread.n == 0 or (len(tasks) > 1 and spread.low != spread.high):
        return spread
    low, high = paired_score_interval(gained, lost, spread.n, confidence=level)
    return spread.model_copy(update={"low": low, "high": high, "method": SCORE})


def _difference(pair: Pair) -> float:
    assert pair.arm is not None
    assert pair.control is not None
    return float(pair.arm) - float(pair.control)
