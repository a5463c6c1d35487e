"""How much an instruction matters, and whether that depends on what the picture leaves open.

The claim under test (arXiv 2603.19233): sensitivity to language follows *task structure*. It is an
interaction: the effect of a variant in shared scenes minus its effect in unique scenes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from vlascope.counterfactuals.structure import SHARED, UNIQUE
from vlascope.statistics import FEWEST_CLUSTERS, Comparison, Estimate, Pair, compare, contrast

__all__ = ["Interaction", "Sensitivity", "interaction_p", "sensitivity", "told_apart"]

Unit = Literal["tasks", "episodes"]
_RESAMPLES: Final = 4999


@dataclass(frozen=True)
class Interaction:
    """A difference of differences: (variant - own prompt) in shared minus the same in unique.

    Attributes:
        difference: with the interval recovered from both effects' intervals (MOVER).
        p: two-sided, by permuting which scenes the paired differences belong to.
        unit: what is permuted: whole tasks where both structures have enough of them, so that the
            answer speaks of tasks like these; else episodes, and it speaks of these tasks.
        detectable: about the smallest interaction found with 80% power: the two effects' own
            smallest detectable differences, added in quadrature. None where either has none.
    """

    difference: Estimate
    p: float | None
    unit: Unit
    detectable: float | None


@dataclass(frozen=True)
class Sensitivity:
    """What one variant does, by task structure.

    Attributes:
        effects: variant minus own prompt, paired by task and seed, by structure.
        interaction: shared minus unique; None where either was not played.
    """

    variant: str
    effects: Mapping[str, Comparison]
    interaction: Interaction | None


def sensitivity(
    variant: str, pairs: Mapping[str, Sequence[Pair]], *, binary: bool, seed: int = 0
) -> Sensitivity:
    """Judge one variant.

    Args:
        variant: its name.
        pairs: variant (`arm`) and own prompt (`control`) by structure (`shared`, `unique`).
        binary: whether values are 0 or 1.
        seed: of all resampling.
    """
    known = {s: _known(p) for s, p in pairs.items()}
    effects = {s: compare(pairs[s], binary=binary, seed=seed) for s in pairs if known[s]}
    both = SHARED in effects and UNIQUE in effects
    found = _interaction(effects, known[SHARED], known[UNIQUE], seed) if both else None
    return Sensitivity(variant, effects, found)


def interaction_p(
    shared: Mapping[str, Sequence[float]], unique: Mapping[str, Sequence[float]], *, seed: int = 0
) -> tuple[float | None, Unit]:
    """The permutation p of an interaction from paired differences by task, and what it permutes."""
    enough = min(len(shared), len(unique)) >= FEWEST_CLUSTERS
    p = _permuted(_units(shared, enough), _units(unique, enough), seed)
    return p, "tasks" if enough else "episodes"


def told_apart(difference: Estimate, p: float | None, alpha: float = 0.05) -> bool:
    """Whether an effect counts as found: (adjusted) p at most alpha, zero outside the interval."""
    return p is not None and p <= alpha and difference.resolved


def _interaction(
    effects: Mapping[str, Comparison],
    shared: Mapping[str, list[float]],
    unique: Mapping[str, list[float]],
    seed: int,
) -> Interaction:
    p, unit = interaction_p(shared, unique, seed=seed)
    limits = [effects[s].detectable for s in (SHARED, UNIQUE)]
    return Interaction(
        difference=contrast(effects[SHARED].difference, effects[UNIQUE].difference),
        p=p,
        unit=unit,
        detectable=None if None in limits else math.hypot(*(x for x in limits if x is not None)),
    )


def _units(by_task: Mapping[str, Sequence[float]], whole: bool) -> npt.NDArray[np.float64]:
    """One mean per task, or every episode's difference."""
    if whole:
        return np.array([np.mean(v) for v in by_task.values()], np.float64)
    return np.concatenate([np.asarray(v, np.float64) for v in by_task.values()])


def _permuted(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], seed: int
) -> float | None:
    """Two-sided p that two samples of paired differences have one mean (Fisher-Pitman).

    A permuted first sample holds each distinct value a hypergeometric number of times, so that
    those counts are drawn instead of permutations; p = (1 + as extreme) / (1 + draws).
    """
    if len(one) + len(other) < 4:
        return None
    values, counts = np.unique(np.concatenate([one, other]), return_counts=True)
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(
        counts, len(one), size=_RESAMPLES, method="marginals"
    )
    centred = drawn @ values / len(one) - (counts @ values) / counts.sum()
    observed = one.mean() - (counts @ values) / counts.sum()
    extreme = np.abs(centred) >= abs(observed) - 1e-12
    return float((1 + extreme.sum()) / (1 + _RESAMPLES))


def _known(pairs: Sequence[Pair]) -> dict[str, list[float]]:
    """Paired differences by task."""
    found: dict[str, list[float]] = {}
    for pair in pairs:
        if pair.arm is not None and pair.control is not None:
            found.setdefault(pair.task, []).append(float(pair.arm) - float(pair.control))
    return found
