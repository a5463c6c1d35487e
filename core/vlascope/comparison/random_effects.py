"""One mean of several true effects that differ: a random-effects model, kept honest at few."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import chi2, t
from statsmodels.stats.meta_analysis import combine_effects

from vlascope.statistics import CONFIDENCE

__all__ = ["RandomEffects", "random_effects"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RandomEffects:
    """What several effects have in common, and how much they differ.

    Attributes:
        value, low, high: the mean, with t of k - 1 degrees of freedom.
        se: its standard error.
        tau2, tau2_low, tau2_high: variance of true effects, with its Q-profile interval.
        i2: share of the observed variance that sampling does not explain.
        q, q_p: Cochran's test that all true effects are equal.
        prediction: interval for the true effect of one more; None below three.
        weights: share of each in the mean.
    """

    value: float
    low: float
    high: float
    se: float
    tau2: float
    tau2_low: float
    tau2_high: float
    i2: float
    q: float
    q_p: float
    prediction: tuple[float, float] | None
    weights: tuple[float, ...]

    def p(self, bound: float) -> float:
        """Two-sided, that the mean is `bound`."""
        if self.se == 0:
            return float(self.value == bound)
        return float(2 * t.sf(abs(self.value - bound) / self.se, len(self.weights) - 1))


def random_effects(
    values: Sequence[float], variances: Sequence[float], *, confidence: float = CONFIDENCE
) -> RandomEffects:
    """Combine independent effects; tau2 by Paule and Mandel (statsmodels' `combine_effects`).

    The standard error is Hartung's, Knapp's, Sidik's and Jonkman's, but never below that of known
    variances (Röver, Knapp and Friede, BMC Med. Res. Methodol. 15, 2015): effects that happen to
    agree must not make the mean look certain. The interval of tau2 is Viechtbauer's (Stat. Med. 26,
    2007), the prediction interval Higgins's (J. R. Stat. Soc. A 172, 2009).

    Args:
        values: one per architecture, at least two.
        variances: of their sampling errors, above zero.
        confidence: coverage of all intervals.
    """
    y, v = np.asarray(values, np.float64), np.asarray(variances, np.float64)
    if len(y) < 2 or not (v > 0).all():
        raise ValueError(f"{len(y)} effects with variances {v.tolist()}: two or more, all above 0")
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")
        found = combine_effects(y, v, method_re="iterated", use_t=True)
    k, tail = len(y), (1 - confidence) / 2
    se = float(found.sd_eff_w_re) * math.sqrt(max(1.0, float(found.scale_hksj_re)))
    value, tau2, q = float(found.mean_effect_re), float(found.tau2), float(found.q)
    reach = se * float(t.ppf(1 - tail, k - 1))
    beyond = math.sqrt(tau2 + se**2) * float(t.ppf(1 - tail, k - 2)) if k > 2 else None
    low, high = _tau2_interval(y, v, tail)
    return RandomEffects(
        value=value,
        low=value - reach,
        high=value + reach,
        se=se,
        tau2=tau2,
        tau2_low=low,
        tau2_high=high,
        i2=max(0.0, 1 - (k - 1) / q) if q > 0 else 0.0,
        q=q,
        q_p=float(chi2.sf(q, k - 1)),
        prediction=None if beyond is None else (value - beyond, value + beyond),
        weights=tuple(float(w) for w in found.weights_rel_re),
    )


def _tau2_interval(y: Floats, v: Floats, tail: float) -> tuple[float, float]:
    """The values of tau2 at which the generalised Q is neither too large nor too small."""

    def excess(tau2: float, target: float) -> float:
        w = 1 / (v + tau2)
        return float((w * (y - (w * y).sum() / w.sum()) ** 2).sum() - target)

    def end(target: float) -> float:
        if excess(0.0, target) <= 0:
            return 0.0
        top = float(v.max() + np.ptp(y) ** 2)
        while excess(top, target) > 0:
            top *= 4
        return float(brentq(excess, 0.0, top, args=(target,)))

    k = len(y)
    return end(float(chi2.ppf(1 - tail, k - 1))), end(float(chi2.ppf(tail, k - 1)))
