"""The classification of an index's features, and what the firing rate alone would have said."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from vlascope_sae.features.classifying import GeneralFit, TooFewLabels, auc, leave_one_out, refit
from vlascope_sae.features.hysteresis import Temporal
from vlascope_sae.features.index import FeatureIndex
from vlascope_sae.features.labels import FeatureLabels

__all__ = ["Classification", "Refit", "classify", "refit_on_labels"]

GENERAL_FROM: Final = 0.5


class FeatureClass(BaseModel):
    """P(general) of a feature, always beside how often it fires."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: int
    p_general: float
    general: bool
    firing_rate: float
    coverage: float
    onsets: float
    magnitude: float
    run_length: float


class Classification(BaseModel):
    """Every feature that fired, classified.

    Attributes:
        fit: the coefficients used, and under `fit_name` where they are from.
        features: those that fired, in order; `dead` did not.
        general, memorised: how many.
        never_on: fired, but never above the threshold: their onsets and run length count as 0.
        median_firing_rate_general, median_firing_rate_memorised: None for an empty class.
        firing_rate_auc: how well the firing rate alone separates the two classes; 1.0 says that
            every general feature fires more often than every memorised one. None for one class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit_name: str
    fit: GeneralFit
    features: tuple[FeatureClass, ...]
    general: int
    memorised: int
    dead: int
    never_on: int
    median_firing_rate_general: float | None
    median_firing_rate_memorised: float | None
    firing_rate_auc: float | None


class Refit(BaseModel):
    """A fit to a user's labels, and how far to trust it.

    Attributes:
        fit: to all labels.
        general, memorised: labels of each class.
        leave_one_out_accuracy: share of labels that a fit to the others gets right.
        majority_accuracy: the share that always saying the commoner class gets right.
        firing_rate_auc: how well the firing rate alone separates the labelled classes.
        dead: labelled features that never fired, which were left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: GeneralFit
    general: int
    memorised: int
    leave_one_out_accuracy: float
    majority_accuracy: float
    firing_rate_auc: float | None
    dead: tuple[int, ...]


def classify(index: FeatureIndex, fit: GeneralFit, name: str) -> Classification:
    """P(general) of every feature that fired."""
    alive, rate = index.alive, index.column("firing_rate")
    p = fit.probability(index.temporal, alive)
    living = np.flatnonzero(alive)
    general = p[living] >= GENERAL_FROM
    columns = index.temporal._asdict()
    return Classification(
        fit_name=name,
        fit=fit,
        features=tuple(
            FeatureClass(
                feature=int(f),
                p_general=float(p[f]),
                general=bool(p[f] >= GENERAL_FROM),
                firing_rate=float(rate[f]),
                **{key: float(values[f]) for key, values in columns.items()},
            )
            for f in living
        ),
        general=int(general.sum()),
        memorised=int((~general).sum()),
        dead=int((~alive).sum()),
        never_on=int((alive & (index.column("episodes_on") == 0)).sum()),
        median_firing_rate_general=_median(rate[living][general]),
        median_firing_rate_memorised=_median(rate[living][~general]),
        firing_rate_auc=auc(rate[living], general),
    )


def refit_on_labels(index: FeatureIndex, labels: FeatureLabels, c: float = 1.0) -> Refit:
    """Fit to what a user has labelled in this index; dead features are left out.

    Raises:
        TooFewLabels: fewer than 2 living features of a class are labelled.
    """
    features, general = labels.decided()
    if not len(features):
        raise TooFewLabels(f"{index.path} has no labels; give some with `vlascope features label`")
    alive = index.alive[features]
    chosen, general = features[alive], general[alive]
    temporal = Temporal(*(column[chosen] for column in index.temporal))
    p = leave_one_out(temporal, general, c)
    return Refit(
        fit=refit(temporal, general, c),
        general=int(general.sum()),
        memorised=int((~general).sum()),
        leave_one_out_accuracy=float(((p >= GENERAL_FROM) == general).mean()),
        majority_accuracy=float(max(general.mean(), 1 - general.mean())),
        firing_rate_auc=auc(index.column("firing_rate")[chosen], general),
        dead=tuple(int(f) for f in features[~alive]),
    )


def _median(rates: npt.NDArray[np.float64]) -> float | None:
    return float(np.median(rates)) if len(rates) else None
