"""What architectures have in common in one number, and how much they differ in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.stats import norm

from vlascope.comparison.bounds import possible
from vlascope.comparison.members import Member, Spot, families
from vlascope.comparison.random_effects import RandomEffects, random_effects
from vlascope.statistics import CONFIDENCE, Estimate
from vlascope.study.quantity import Quantity

__all__ = ["FamilyMean", "Pooled", "Spread", "pool", "pool_all", "standard_error"]

Floats = npt.NDArray[np.float64]

_Z = float(norm.ppf(0.5 + CONFIDENCE / 2))


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FamilyMean(_Frozen):
    """One architecture's number.

    Attributes:
        entries: its seeds, with an equal say.
        value: their mean; n counts episodes over all of them.
        se: its standard error; an interval that was cut to what can be does not tell it.
        weight: its share in the pooled mean.
    """

    family: str
    entries: tuple[str, ...]
    value: Estimate
    se: float
    weight: float


class Spread(_Frozen):
    """How far numbers lie apart, beside how far sampling alone would put them.

    Attributes:
        observed: standard deviation.
        sampling: what is expected of sampling errors alone.
        n: how many numbers; `groups` in how many groups.
    """

    observed: float
    sampling: float
    n: int
    groups: int


class Pooled(_Frozen):
    """A random-effects mean over architectures.

    Attributes:
        spot: what was pooled (`key`, `pathway`, `depth`, `site`; `at` in hundredths, or -1).
        label, unit, signed, against: as in the quantities.
        value: the mean; n counts architectures.
        p: two-sided, that it is zero; None for what is not a difference.
        tau, tau_low, tau_high: standard deviation of the architectures' true values.
        i2: share of the variance between them that sampling does not explain.
        q, q_p: Cochran's test that they are all equal.
        prediction: where the true value of one more architecture would lie; None below three.
        families: what went in.
        seeds: spread of seeds within their architecture; None where none has two.
        architectures: spread of the architectures' means.
        episodes: behind it all.
        left_out: why an entry's number is not in it.
    """

    spot: Spot
    label: str
    unit: str
    signed: bool
    against: str
    value: Estimate
    p: float | None
    tau: float
    tau_low: float
    tau_high: float
    i2: float
    q: float
    q_p: float
    prediction: tuple[float, float] | None
    families: tuple[FamilyMean, ...]
    seeds: Spread | None
    architectures: Spread
    episodes: int
    left_out: dict[str, str]

    @property
    def model(self) -> RandomEffects:
        """The model behind it, worked out anew from what went in."""
        return random_effects(
            [f.value.value or 0.0 for f in self.families], [f.se**2 for f in self.families]
        )


def standard_error(found: Estimate) -> float | None:
    """Half the interval's width over its normal quantile; None without an interval of any width."""
    if found.low is None or found.high is None or found.high <= found.low:
        return None
    return (found.high - found.low) / (2 * _Z)


def pool(members: Sequence[Member], spot: Spot) -> Pooled | None:
    """Pool one number over architectures; None where fewer than two have it with an interval.

    Seeds of one architecture are averaged first, so that two seeds do not count as two
    architectures: their mean's sampling variance is the sum of theirs over their number squared.
    What seeds differ by beyond sampling stays within the differences between architectures.
    """
    have = [m for m in members if spot in m.by_spot]
    usable: list[Member] = []
    left_out: dict[str, str] = {}
    for member in have:
        why = _unusable(member.by_spot[spot]) if member.pooled else "not to be pooled"
        if why:
            left_out[member.name] = why
        else:
            usable.append(member)
    groups = families(usable)
    if len(groups) < 2:
        return None
    example = usable[0].by_spot[spot]
    means = {f: _mean([_value(m, spot) for m in seeds], example) for f, seeds in groups.items()}
    ses = {f: _error([_value(m, spot) for m in seeds]) for f, seeds in groups.items()}
    model = random_effects(_numbers(list(means.values())).tolist(), [s**2 for s in ses.values()])
    return Pooled(
        spot=spot,
        label=example.label,
        unit=example.unit,
        signed=example.signed,
        against=example.against,
        value=_mean_over(model, example),
        p=model.p(0.0) if example.signed else None,
        tau=math.sqrt(model.tau2),
        tau_low=math.sqrt(model.tau2_low),
        tau_high=math.sqrt(model.tau2_high),
        i2=model.i2,
        q=model.q,
        q_p=model.q_p,
        prediction=None if model.prediction is None else possible(*model.prediction, example)[:2],
        families=tuple(
            FamilyMean(
                family=f, entries=tuple(m.name for m in groups[f]), value=e, se=ses[f], weight=w
            )
            for (f, e), w in zip(means.items(), model.weights, strict=True)
        ),
        seeds=_within({f: [_value(m, spot) for m in g] for f, g in groups.items()}),
        architectures=_between(list(means.values()), list(ses.values())),
        episodes=sum(e.n for e in means.values()),
        left_out=left_out,
    )


def pool_all(members: Sequence[Member]) -> tuple[Pooled, ...]:
    """Every number that two architectures or more have, in the order they are first met."""
    spots = dict.fromkeys(Spot.of(q) for m in members for q in m.quantities)
    found = (pool(members, spot) for spot in spots)
    return tuple(p for p in found if p is not None)


def _numbers(found: Sequence[Estimate]) -> Floats:
    """Their values."""
    return np.array([e.value for e in found], np.float64)


def _variances(found: Sequence[Estimate]) -> Floats:
    """Of their sampling errors."""
    return np.array([standard_error(e) or 0.0 for e in found], np.float64) ** 2


def _unusable(quantity: Quantity) -> str:
    found = quantity.value
    if found is None or found.value is None:
        return quantity.why_not or "no value"
    if standard_error(found) is None:
        return f"no interval, or one of no width ({found.method}, n = {found.n})"
    return ""


def _value(member: Member, spot: Spot) -> Estimate:
    found = member.by_spot[spot].value
    assert found is not None
    return found


def _mean(seeds: Sequence[Estimate], example: Quantity) -> Estimate:
    """Of the seeds of one architecture, each with an equal say."""
    if len(seeds) == 1:
        return seeds[0]
    value = float(_numbers(seeds).mean())
    reach = _Z * _error(seeds)
    low, high, cut = possible(value - reach, value + reach, example)
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=sum(e.n for e in seeds),
        missing=sum(e.missing for e in seeds),
        method=f"mean of {len(seeds)} seeds{cut}",
    )


def _error(seeds: Sequence[Estimate]) -> float:
    """Standard error of the seeds' mean."""
    return math.sqrt(float(_variances(seeds).sum())) / len(seeds)


def _mean_over(model: RandomEffects, example: Quantity) -> Estimate:
    k = len(model.weights)
    low, high, cut = possible(model.low, model.high, example)
    method = f"random effects over {k} architectures{cut}"
    return Estimate(value=model.value, low=low, high=high, n=k, method=method)


def _within(groups: Mapping[str, Sequence[Estimate]]) -> Spread | None:
    """Of seeds around the mean of their architecture, pooled over architectures."""
    several = [g for g in groups.values() if len(g) > 1]
    if not several:
        return None
    n = sum(len(g) for g in several)
    squares = sum(float(_numbers(g).var()) * len(g) for g in several)
    noise = np.concatenate([_variances(g) for g in several])
    return Spread(
        observed=math.sqrt(squares / (n - len(several))),
        sampling=math.sqrt(float(noise.mean())),
        n=n,
        groups=len(several),
    )


def _between(means: Sequence[Estimate], ses: Sequence[float]) -> Spread:
    return Spread(
        observed=float(_numbers(means).std(ddof=1)),
        sampling=math.sqrt(float(np.mean(np.square(ses)))),
        n=len(means),
        groups=1,
    )
