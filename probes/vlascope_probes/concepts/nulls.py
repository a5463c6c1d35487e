"""What chance does: labels moved between whole episodes with their structure kept, and FDR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control

__all__ = ["Permuter", "discoveries", "p_values"]

Truth = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CELLS = 4_000_000
"""Labels drawn at once."""
_MOST_DRAWS = 200_000


@dataclass(frozen=True, eq=False)
class Permuter:
    """Labels as they would be if they knew nothing of what they label.

    Each episode takes another's whole sequence of labels, turned round by a random number of
    moments and stretched to its length: how many moments are true, and how they follow one
    another, stays as it is. A concept that is constant within episodes is dealt out anew.

    Attributes:
        truth: (n,), in the order of episodes and steps.
        episode: (n,), ascending from 0 without gaps.
        strata: (episodes,); sequences move within a stratum only (a task).
    """

    truth: Truth
    episode: Ints
    strata: Ints

    def draw(self, rng: np.random.Generator, draws: int) -> Truth:
        """(draws, n)."""
        lengths = np.bincount(self.episode)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        source = np.tile(np.arange(len(lengths)), (draws, 1))
        for stratum in np.unique(self.strata):
            inside = np.flatnonzero(self.strata == stratum)
            source[:, inside] = rng.permuted(source[:, inside], axis=1)
        drawn = np.empty((draws, len(self.truth)), bool)
        for e, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            its = lengths[source[:, e], None]
            turned = rng.integers(0, its)
            place = (np.arange(length)[None] * its // length + turned) % its
            drawn[:, start : start + length] = self.truth[starts[source[:, e], None] + place]
        return drawn


Statistic = Callable[[Truth, Ints], Floats]
"""(labels (draws, n), columns (k,)) -> (draws, k); larger is more of an effect."""


def p_values(
    statistic: Statistic,
    observed: Floats,
    permuter: Permuter,
    *,
    permutations: int,
    tests: int,
    level: float,
    seed: int = 0,
) -> Floats:
    """One-sided permutation p-values, (columns,): (1 + as large or larger) / (1 + draws).

    Columns whose p is among the smallest that so many draws can show are drawn for again, afresh,
    often enough that the correction for `tests` of them has something to go by. What is NaN has
    p = NaN.

    Args:
        statistic: of labels and columns; larger is more of an effect.
        observed: the statistic under the true labels, (columns,).
        permuter: makes labels.
        permutations: draws for every column.
        tests: how many tests the correction counts.
        level: the false discovery rate aimed at.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    found = np.full(len(observed), np.nan)
    columns = np.flatnonzero(~np.isnan(observed))
    if not len(columns):
        return found
    found[columns] = _share(statistic, observed, permuter, columns, permutations, rng)
    again = columns[found[columns] <= 5 / (permutations + 1)]
    if len(again):
        needed = min(int(np.ceil(2 * tests / (level * len(again)))), _MOST_DRAWS)
        draws = max(permutations, needed)
        found[again] = _share(statistic, observed, permuter, again, draws, rng)
    return found


def _share(
    statistic: Statistic,
    observed: Floats,
    permuter: Permuter,
    columns: Ints,
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    at_once = max(1, min(draws, _CELLS // max(len(permuter.truth), len(columns), 1)))
    reached, done = np.zeros(len(columns)), 0
    bound = observed[columns] - 1e-4 * np.abs(observed[columns]) - 1e-6  # equal up to rounding
    while done < draws:
        n = min(at_once, draws - done)
        drawn = statistic(permuter.draw(rng, n), columns)
        reached += (np.isnan(drawn) | (drawn >= bound)).sum(0)
        done += n
    return (1 + reached) / (1 + draws)


def discoveries(
    families: Mapping[str, Floats | Sequence[float]], level: float
) -> dict[str, tuple[Truth, Floats]]:
    """Which tests of each family stand, and their q-values, at a false discovery rate of `level`.

    Families (concepts) are chosen by Benjamini-Hochberg over their Simes p-values, tests within a
    chosen family by Benjamini-Hochberg at level * chosen / all: on average over the chosen
    families the share of false discoveries is at most `level` (Benjamini & Bogomolov, Journal of
    the Royal Statistical Society B 76, 2014). q is within the family; what has no p (a feature
    that never varies) is no test.
    """
    names = list(families)
    if not names:
        return {}
    q = {n: _adjusted(np.asarray(families[n])) for n in names}
    simes = [float(q[n].min()) for n in names]  # the smallest BH-adjusted p is Simes' p
    chosen = false_discovery_control(simes) <= level
    share = level * chosen.sum() / len(names)
    stands = dict(zip(names, chosen, strict=True))
    return {n: ((q[n] <= share) & bool(stands[n]), q[n]) for n in names}


def _adjusted(p: Floats) -> Floats:
    """Benjamini-Hochberg q-values of the tests there are, 1 for the others."""
    known = ~np.isnan(p)
    q = np.ones(len(p))
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q
