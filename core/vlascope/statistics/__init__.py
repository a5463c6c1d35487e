"""Numbers with their uncertainty: episodes are the unit, missing is missing, n is always said."""

from vlascope.statistics.contrasts import contrast
from vlascope.statistics.detectable import detectable_mean, detectable_rate
from vlascope.statistics.estimates import CONFIDENCE, Comparison, Estimate
from vlascope.statistics.families import holm
from vlascope.statistics.paired import Pair, compare, mcnemar_p, sign_flip_p
from vlascope.statistics.proportions import paired_score_interval, rate
from vlascope.statistics.ratios import log_ratio
from vlascope.statistics.resampling import FEWEST_CLUSTERS, bootstrap_mean
from vlascope.statistics.sequential import betting_interval, betting_p

__all__ = [
    "CONFIDENCE",
    "FEWEST_CLUSTERS",
    "Comparison",
    "Estimate",
    "Pair",
    "betting_interval",
    "betting_p",
    "bootstrap_mean",
    "compare",
    "contrast",
    "detectable_mean",
    "detectable_rate",
    "holm",
    "log_ratio",
    "mcnemar_p",
    "paired_score_interval",
    "rate",
    "sign_flip_p",
]
