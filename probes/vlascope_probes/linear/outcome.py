"""What fitting one target at one place gave, before it is written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlascope.statistics import Estimate

__all__ = ["Outcome", "permutation_p", "ratio_interval"]

Floats = npt.NDArray[np.float64]
_RESAMPLES = 1000


@dataclass(frozen=True)
class Outcome:
    """How well a target is read off rows that no probe was fitted on.

    Attributes:
        estimate: the score over episodes, with its interval.
        controls: scores of control tasks.
        rows: how many.
        auc: area under the ROC curve within folds, averaged; two labels only.
    """

    estimate: Estimate
    controls: tuple[float, ...]
    rows: int
    auc: float | None = None


def permutation_p(score: float, controls: Sequence[float]) -> float:
    """(1 + controls at least as good) / (1 + controls): one-sided, exact when exchangeable."""
    return (1 + sum(c >= score for c in controls)) / (1 + len(controls))


def ratio_interval(above: Floats, below: Floats, combine: str, seed: int, value: float) -> Estimate:
    """A score made of sums over episodes, with a percentile bootstrap over episodes.

    Args:
        above: by episode, (episodes, terms).
        below: by episode, (episodes, terms).
        combine: `r2` for 1 − Σabove/Σbelow of one term, `mean` for the mean of Σabove/Σbelow over
            terms (balanced accuracy: hits and rows by class).
        seed: of the resampling.
        value: the score itself.
    """
    episodes = len(above)
    method = f"bootstrap over {episodes} episodes"
    if episodes < 2:
        return Estimate(value=value, low=None, high=None, n=episodes, method="one episode")
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(episodes, np.full(episodes, 1 / episodes), _RESAMPLES)
    over, under = counts @ above, counts @ below
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(under > 0, over / under, np.nan)
    draws = 1 - ratio[:, 0] if combine == "r2" else np.nanmean(ratio, axis=1)
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high), n=episodes, method=method)
