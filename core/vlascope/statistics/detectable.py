"""How small a difference the number of episodes at hand could have shown."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import binom
from statsmodels.stats.power import TTestPower

__all__ = ["DETECTABLE_MEAN", "DETECTABLE_RATE", "detectable_mean", "detectable_rate"]

DETECTABLE_RATE: Final = (
    "exact power of McNemar's exact test, 80%, 5% two-sided, at the observed discordance "
    "(Duffy, Biometrics 40, 1984)"
)
DETECTABLE_MEAN: Final = "power of the paired t-test, 80%, 5% two-sided, at the observed spread"


@lru_cache(maxsize=4096)
def detectable_rate(
    n: int, discordance: float, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """Smallest difference of paired rates that the exact McNemar test finds at n pairs.

    Of n pairs, D ~ Bin(n, discordance) are discordant, and of those a share of
    (1 + d / discordance) / 2 favours the first arm; the test rejects on the two-sided binomial p.
    `d` is searched in steps of 0.005; a discordance below d is raised to d, the least it can be.

    Args:
        n: pairs.
        discordance: share of pairs that differ, as observed.
        alpha: two-sided level.
        power: chance to find it.

    Returns:
        The difference in [0, 1], or None where not even a difference of 1 would be found (n < 6).
    """
    rejecting = _rejections(n, alpha)
    for d in np.arange(0.005, 1.0005, 0.005):
        if _power(n, min(max(discordance, float(d)), 1.0), float(d), rejecting) >= power:
            return round(float(d), 3)
    return None


def detectable_mean(
    differences: Sequence[float], *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """Smallest mean difference that a paired t-test finds at this n and spread, in their unit."""
    if len(differences) < 3:
        return None
    spread = float(np.std(differences, ddof=1))
    if spread == 0:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        size = TTestPower().solve_power(nobs=len(differences), alpha=alpha, power=power)
    return float(np.ravel(size)[0]) * spread


def _rejections(n: int, alpha: float) -> npt.NDArray[np.int64]:
    """By number of discordant pairs 0..n: the largest count of the rarer kind that rejects, or -1.

    The exact two-sided p of k in D is 2 P(X <= k), X ~ Bin(D, 1/2).
    """
    pairs = np.arange(n + 1)
    most = binom.ppf(alpha / 2, pairs, 0.5).astype(np.int64)
    too_many = 2 * binom.cdf(most, pairs, 0.5) > alpha
    return np.where(too_many, most - 1, most)


def _power(n: int, discordance: float, d: float, rejecting: npt.NDArray[np.int64]) -> float:
    pairs = np.arange(n + 1)
    chance = binom.pmf(pairs, n, discordance)
    favour = (1 + d / discordance) / 2
    lower = np.where(rejecting >= 0, binom.cdf(rejecting, pairs, favour), 0.0)
    upper = np.where(rejecting >= 0, binom.sf(pairs - rejecting - 1, pairs, favour), 0.0)
    return float((chance * (lower + upper)).sum())
