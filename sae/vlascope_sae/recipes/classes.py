"""General against memorised features of one autoencoder, on the episodes it was trained among."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from vlascope.statistics import rate
from vlascope.store import ActivationStore, Where
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.features.classifying import published_fits
from vlascope_sae.features.generality import classify
from vlascope_sae.features.index import FeatureIndex
from vlascope_sae.features.indexing import build_index
from vlascope_sae.recipes.options import Per
from vlascope_sae.recipes.results import General

__all__ = ["generality"]


def generality(
    sae: SparseAutoencoder,
    store: ActivationStore,
    point: str,
    where: Where,
    per: Per,
    folder: Path,
    fit: str,
) -> General:
    """Index the features into `folder/features` and classify those that fired.

    Each feature's times are those of the rows that the autoencoder learned from.
    """
    out = build_index(
        sae,
        store,
        point,
        folder / "features",
        where=where,
        pool="none" if per == "token" else "mean",
        sae_path=str(folder),
    )
    index = FeatureIndex.open(out)
    found = classify(index, published_fits(fit)[fit], fit)
    fired_in = Counter(
        sum(group.firing_rate > 0 for group in index.by_task(f.feature)) for f in found.features
    )
    return General(
        fit=fit,
        share=rate([f.general for f in found.features]),
        alive=len(found.features),
        general=found.general,
        dead=found.dead,
        never_on=found.never_on,
        rate_general=found.median_firing_rate_general,
        rate_memorised=found.median_firing_rate_memorised,
        rate_auc=found.firing_rate_auc,
        tasks=tuple(fired_in[n] for n in range(1, len(index.manifest.tasks) + 1)),
        episodes=index.manifest.episodes,
    )
