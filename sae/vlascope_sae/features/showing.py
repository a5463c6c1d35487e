"""Everything that is known of one feature, and lists of features, as data for tables and JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlascope.errors import unknown_name
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.features.classifying import GeneralFit
from vlascope_sae.features.index import FeatureIndex
from vlascope_sae.features.labels import FeatureLabels
from vlascope_sae.features.neighbours import check_same, co_activation, nearest_by_cosine

__all__ = ["SORTABLE", "ranked", "shown"]

SORTABLE = (
    "p_general",
    "firing_rate",
    "max",
    "mean_on",
    "coverage",
    "onsets",
    "magnitude",
    "run_length",
)


def ranked(index: FeatureIndex, fit: GeneralFit, by: str, n: int) -> list[dict[str, Any]]:
    """The n living features with the most of something, each with P(general) and firing rate.

    Raises:
        UnknownName: `by` is none of `SORTABLE`.
    """
    if by not in SORTABLE:
        raise unknown_name("order of features", by, SORTABLE)
    p = fit.probability(index.temporal, index.alive)
    score = p if by == "p_general" else index.column(by)
    living = np.flatnonzero(index.alive)
    best = living[np.argsort(-score[living], kind="stable")[:n]]
    labels = FeatureLabels.of(index).labels
    return [{**_numbers(index, int(f), float(p[f])), "words": _words(labels, int(f))} for f in best]


def shown(
    index: FeatureIndex,
    feature: int,
    fit: GeneralFit,
    sae: SparseAutoencoder | None = None,
    neighbours: int = 8,
) -> dict[str, Any]:
    """Numbers, profiles, strongest moments, label and neighbours of one feature.

    Args:
        index: the index.
        feature: which feature.
        fit: decides P(general).
        sae: the autoencoder, for the nearest by decoder cosine; without it those are None.
        neighbours: how many.

    Raises:
        UnknownName: there is no such feature.
        IncompatibleError: `sae` is not the one indexed.
    """
    moments = [
        {
            "value": top.value,
            "episode": top.moment.episode,
            "step": top.moment.step,
            "chunk": top.moment.chunk,
            "call": top.moment.call,
            "token": top.token,
            "span": top.span,
        }
        for top in index.top(feature)
    ]
    cosine = None
    if sae is not None:
        check_same(index, sae)
        cosine = [n._asdict() for n in nearest_by_cosine(sae, feature, neighbours)]
    together = co_activation(index, [feature]).nearest(feature, neighbours)
    label = FeatureLabels.of(index).labels.get(feature)
    p = fit.probability(index.temporal, index.alive)
    return {
        **_numbers(index, feature, float(p[feature])),
        "label": None if label is None else label.model_dump(),
        "by_task": [g._asdict() for g in index.by_task(feature)],
        "by_phase": [g._asdict() for g in index.by_phase(feature)],
        "moments": moments,
        "nearest_by_decoder_cosine": cosine,
        "nearest_by_co_activation": [n._asdict() for n in together],
    }


def _numbers(index: FeatureIndex, feature: int, p: float) -> dict[str, Any]:
    dead = not index.alive[feature]
    found: dict[str, Any] = {
        "feature": feature,
        "p_general": None if dead else p,
        "firing_rate": float(index.column("firing_rate")[feature]),
    }
    for name in SORTABLE[2:]:
        found[name] = None if dead else float(index.column(name)[feature])
    return found


def _words(labels: dict[int, Any], feature: int) -> str:
    return labels[feature].words if feature in labels else ""
