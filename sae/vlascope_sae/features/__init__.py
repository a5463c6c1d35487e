"""What features do: an index made in one pass over a store, and what can be read off it."""

from vlascope_sae.features.classifying import GeneralFit, auc, leave_one_out, published_fits, refit
from vlascope_sae.features.generality import classify, refit_on_labels
from vlascope_sae.features.index import FeatureIndex
from vlascope_sae.features.indexing import build_index
from vlascope_sae.features.labels import FeatureLabel, FeatureLabels
from vlascope_sae.features.neighbours import co_activation, nearest_by_cosine

__all__ = [
    "FeatureIndex",
    "FeatureLabel",
    "FeatureLabels",
    "GeneralFit",
    "auc",
    "build_index",
    "classify",
    "co_activation",
    "leave_one_out",
    "nearest_by_cosine",
    "published_fits",
    "refit",
    "refit_on_labels",
]
