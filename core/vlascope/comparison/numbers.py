"""The number that a claim's test looks at: an entry's, a contrast of two, or the pooled one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.stats import norm

from vlascope.comparison.claims import Claim, Test
from vlascope.comparison.members import Member, Spot
from vlascope.comparison.pooling import Pooled, pool, standard_error
from vlascope.statistics import Estimate, contrast
from vlascope.study.quantity import Quantity, of_difference

__all__ = ["Number", "contrasted", "derived", "of_member", "pooled", "unmet"]


@dataclass(frozen=True)
class Number:
    """An estimate with what is needed to judge it.

    Attributes:
        se: standard error at n; None where there is none.
        counts: what n counts.
        p: two-sided, that it is the bound; None where there is none.
        model: what a pooled number comes from; None for others.
    """

    label: str
    value: Estimate
    unit: str
    signed: bool
    against: str
    se: float | None
    counts: str = "episodes"
    p: float | None = None
    model: Pooled | None = None


def derived(test: Test, member: Member, spot: Spot) -> Quantity | None:
    """An entry's quantity; or one pathway's minus another's."""
    found = member.by_spot.get(spot)
    if found is None or not test.minus_pathway:
        return found
    other = member.by_spot.get(replace(spot, pathway=test.minus_pathway))
    if found.value is None or other is None or other.value is None:
        return None
    return found.model_copy(
        update={
            "label": f"{found.label}, {spot.pathway} minus {test.minus_pathway}",
            "value": contrast(found.value, other.value),
            "signed": True,
            "bounds": of_difference(found.within),
            "against": test.minus_pathway,
            "p": None,
        }
    )


def of_member(test: Test, member: Member, spot: Spot) -> Number | None:
    """An entry's own; its p is the recipe's, where the bound is the zero that it is about."""
    quantity = derived(test, member, spot)
    if quantity is None or quantity.value is None:
        return None
    about_zero = test.within is None and 0.0 in (test.above, test.below)
    return Number(
        label=quantity.label,
        value=quantity.value,
        unit=quantity.unit,
        signed=quantity.signed,
        against=quantity.against,
        se=standard_error(quantity.value),
        p=quantity.p if about_zero else None,
    )


def contrasted(test: Test, first: Member, second: Member, spot: Spot) -> Number | None:
    """`first` minus `second`, taken as measured on different episodes."""
    a, b = first.by_spot.get(spot), second.by_spot.get(spot)
    if a is None or b is None or a.value is None or b.value is None:
        return None
    value = contrast(a.value, b.value)
    se = standard_error(value)
    bound = test.above if test.above is not None else test.below
    p = None
    if se is not None and value.value is not None and bound is not None:
        p = float(2 * norm.sf(abs(value.value - bound) / se))
    return Number(
        label=f"{a.label}, {first.name} minus {second.name}",
        value=value,
        unit=a.unit,
        signed=True,
        against=second.name,
        se=se,
        p=p,
    )


def pooled(test: Test, members: Sequence[Member], spot: Spot) -> Number | None:
    """Over architectures; or by how much that exceeds the spread of another number."""
    kept = [(m, derived(test, m, spot)) for m in members]
    found = pool([replace(m, quantities=(q,)) for m, q in kept if q is not None], spot)
    if found is None:
        return None
    if test.spread_of:
        other = pool(members, Spot(test.spread_of, spot.pathway, spot.depth, spot.site))
        return None if other is None else _beyond(found, other)
    model = found.model
    bound = test.above if test.above is not None else test.below
    return Number(
        label=found.label,
        value=found.value,
        unit=found.unit,
        signed=found.signed,
        against=found.against,
        se=model.se,
        counts="architectures",
        p=None if bound is None else model.p(bound),
        model=found,
    )


def _beyond(found: Pooled, other: Pooled) -> Number:
    """|mean| minus the standard deviation of the other's true values between architectures."""
    tau = Estimate(
        value=other.tau, low=other.tau_low, high=other.tau_high, n=other.value.n,
        method="Q profile",
    )  # fmt: skip
    value = contrast(_size(found.value), tau).model_copy(update={"n": found.value.n})
    return Number(
        label=f"size of {found.label} minus the spread between architectures of {other.label}",
        value=value,
        unit=found.unit,
        signed=True,
        against="spread between architectures",
        model=found,
        se=standard_error(value),
        counts="architectures",
    )


def _size(found: Estimate) -> Estimate:
    """Without its sign; an interval that includes zero begins there."""
    value, low, high = found.value, found.low, found.high
    if value is None or low is None or high is None:
        return found
    ends = sorted((abs(low), abs(high)))
    least = 0.0 if low <= 0 <= high else ends[0]
    return found.model_copy(update={"value": abs(value), "low": least, "high": ends[1]})


def unmet(claim: Claim, member: Member) -> str:
    """Which of a claim's needs an entry does not meet; empty where it meets all."""
    for need in claim.needs:
        quantity = _whole(member, need.key, need.pathway)
        value = None if quantity is None or quantity.value is None else quantity.value.value
        if quantity is None or value is None:
            why = "" if quantity is None else f": {quantity.why_not}"
            return f"`{need.key}` was not measured{why}"
        if value < need.at_least:
            return f"{quantity.label} is {value:.2f}, below {need.at_least:g}: {need.why}"
    return ""


def _whole(member: Member, key: str, pathway: str) -> Quantity | None:
    spots = (s for s in member.by_spot if s.key == key and s.pathway == pathway and s.at < 0)
    return next((member.by_spot[s] for s in spots), None)
