"""General or memorised: a logistic regression on four numbers (DrVLA, arXiv 2603.19183)."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata

from vlascope.errors import CorruptFile, VlascopeError, unknown_name
from vlascope_sae.features.hysteresis import Temporal

__all__ = ["GeneralFit", "TooFewLabels", "auc", "leave_one_out", "published_fits", "refit"]

Numbers = npt.NDArray[np.float64]
_PUBLISHED: Final = "published_fits.json"


class TooFewLabels(VlascopeError, ValueError):
    """Labels that no classifier can be fitted to, or be tested on."""


class GeneralFit(BaseModel):
    """P(general) = sigmoid(intercept + coverage·c + onsets·o + magnitude·a + run_length·l).

    The four numbers are taken as they are, not standardised; a feature is general where
    P >= 0.5. `labels` is how many features it was fitted to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    intercept: float
    coverage: float
    onsets: float
    magnitude: float
    run_length: float
    labels: int

    def probability(self, temporal: Temporal, alive: npt.NDArray[np.bool_]) -> Numbers:
        """P(general) of every feature; NaN for the dead, which are neither."""
        weights = [getattr(self, name) for name in Temporal._fields]
        p = expit(self.intercept + _design(temporal) @ np.array(weights))
        return np.where(alive, p, np.nan)


class _Published(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal["vlascope.general-fits/1"]
    source: str
    fits: dict[str, GeneralFit]


def published_fits(name: str | None = None) -> dict[str, GeneralFit]:
    """The coefficients the paper prints, by the data set they were fitted on; or one of them.

    Raises:
        UnknownName: no such fit was published; says which were.
    """
    text = files("vlascope_sae.features").joinpath(_PUBLISHED).read_text()
    try:
        fits = _Published.model_validate(json.loads(text)).fits
    except (ValueError, ValidationError) as error:
        raise CorruptFile(f"{_PUBLISHED} is damaged: {error}; install vlascope again") from error
    if name is None:
        return fits
    if name not in fits:
        raise unknown_name("published fit", name, fits)
    return {name: fits[name]}


def refit(temporal: Temporal, general: npt.NDArray[np.bool_], c: float = 1.0) -> GeneralFit:
    """Logistic regression on labelled features, as the paper's: weights penalised by |w|²/2.

    Minimises |w|²/2 + C · Σ log(1 + exp(−y (b + w·x))), the intercept free: the same objective
    as scikit-learn's LogisticRegression(C=1).

    Args:
        temporal: the four numbers of the labelled features, in the order of `general`.
        general: True for general, False for memorised.
        c: how much the labels count against the penalty.

    Raises:
        TooFewLabels: one of the classes has no label.
    """
    _need(general, 1, "fit")
    found = _fitted(_design(temporal), general, c)
    named = dict(zip(("intercept", *Temporal._fields), found.tolist(), strict=True))
    return GeneralFit(**named, labels=len(general))


def leave_one_out(temporal: Temporal, general: npt.NDArray[np.bool_], c: float = 1.0) -> Numbers:
    """P(general) of each labelled feature by a fit to all the others.

    Raises:
        TooFewLabels: a class has fewer than 2 labels, so that leaving one out leaves none.
    """
    _need(general, 2, "leave-one-out test")
    x = _design(temporal)
    p = np.empty(len(x))
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        b = _fitted(x[others], general[others], c)
        p[i] = expit(b[0] + x[i] @ b[1:])
    return p


def auc(score: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> float | None:
    """The chance that a positive one scores above a negative one (ties half); None without both.

    Mann and Whitney's U over the number of pairs. With the firing rate as score and "general" as
    positive it says how much of the classification the firing rate alone explains.
    """
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return None
    ranks = rankdata(score)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def _design(temporal: Temporal) -> Numbers:
    return np.stack([np.asarray(t, np.float64) for t in temporal], axis=1)


def _fitted(x: Numbers, general: npt.NDArray[np.bool_], c: float) -> Numbers:
    """Intercept and weights, by Newton's method within a trust region."""
    sign = np.where(general, 1.0, -1.0)
    full = np.column_stack([np.ones(len(x)), x])
    penalised = np.array([0.0] + [1.0] * x.shape[1])

    def loss(b: Numbers) -> float:
        return float(c * np.logaddexp(0, -sign * (full @ b)).sum() + (penalised * b) @ b / 2)

    def gradient(b: Numbers) -> Numbers:
        return -c * full.T @ (sign * expit(-sign * (full @ b))) + penalised * b

    def hessian(b: Numbers) -> Numbers:
        p = expit(full @ b)
        return c * (full.T * (p * (1 - p))) @ full + np.diag(penalised)

    start = np.zeros(full.shape[1])
    found = minimize(loss, start, jac=gradient, hess=hessian, method="trust-exact", tol=1e-10)
    return np.asarray(found.x, np.float64)


def _need(general: npt.NDArray[np.bool_], each: int, what: str) -> None:
    n, m = int(general.sum()), int((~general).sum())
    if min(n, m) < each:
        raise TooFewLabels(
            f"a {what} needs at least {each} general and {each} memorised features; there are {n} "
            f"and {m}: label more with `vlascope features label`"
        )
