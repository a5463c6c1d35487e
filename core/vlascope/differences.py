"""A direction as the mean of paired differences, and whether there is one at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlascope.errors import UnusableActivations
from vlascope.statistics import Estimate, rate

__all__ = ["MeanDifference", "mean_difference"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeanDifference:
    """The mean of n differences d_i, each of one unit (an episode, or a pair of episodes).

    Attributes:
        vector: (width,), the mean; its norm is in the activations' own units.
        n: units.
        agreement: share of units whose d_i points along the mean of the *other* units; 0.5 by
            chance (Wilson interval, units taken as independent).
        p: one-sided, that the mean is zero: sign flips of whole units on the statistic
            sum_{i != j} d_i . d_j, whose expectation is n (n - 1) ||E d||^2.
    """

    vector: Floats
    n: int
    agreement: Estimate
    p: float


def mean_difference(
    differences: npt.ArrayLike, *, seed: int = 0, flips: int = 2000
) -> MeanDifference:
    """The mean difference with its sign-flip test.

    Args:
        differences: (n, width), one per unit.
        seed: of the flips.
        flips: random sign patterns tried; all 2^n where those are fewer.

    Raises:
        UnusableActivations: fewer than two units, values that are not finite, or no difference.
    """
    rows = np.asarray(differences, np.float64)
    if rows.ndim != 2 or len(rows) < 2:
        raise UnusableActivations(f"a mean difference needs two units; got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise UnusableActivations("the differences hold NaN or infinity")
    if not rows.any():
        raise UnusableActivations("the two sides do not differ at all: there is no direction")
    gram = rows @ rows.T
    np.fill_diagonal(gram, 0.0)
    others = gram.sum(1)
    return MeanDifference(
        vector=rows.mean(0),
        n=len(rows),
        agreement=rate([bool(value > 0) for value in others]),
        p=_flipped(gram, seed, flips),
    )


def _flipped(gram: Floats, seed: int, flips: int) -> float:
    """Share of sign patterns, the observed one among them, that reach the observed statistic."""
    n, observed = len(gram), gram.sum()
    if 2 ** (n - 1) <= flips:
        codes = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
        signs = 1.0 - 2.0 * codes
        reached = np.einsum("fi,ij,fj->f", signs, gram, signs) >= observed * (1 - 1e-9)
        return float(reached.mean())
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (flips, n))
    reached = ((signs @ gram) * signs).sum(1) >= observed
    return float((1 + reached.sum()) / (1 + flips))
