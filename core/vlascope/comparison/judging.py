"""The rule: an interval wholly on one side of a bound tells, if the test says so too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from vlascope.comparison.claims import Test
from vlascope.comparison.numbers import Number
from vlascope.comparison.sizes import Needed, needed
from vlascope.report.wording import amount, interval, p_value
from vlascope.statistics import Estimate

__all__ = ["Judged", "Tested", "Word", "judge", "said", "together"]

ALPHA: Final = 0.05

Word = Literal["agrees", "disagrees", "cannot tell"]


class Tested(BaseModel):
    """A number beside the bound it is tested against.

    Attributes:
        key, label, unit, signed, against: as in its quantity.
        value: with its interval; n counts episodes, or architectures where it is pooled.
        bound: in words, `above 0.50`.
        word: of this test alone.
        p: two-sided, of the bound; None where there is none. Above 0.05 nothing is told, whatever
            the interval: percentile bootstraps of few tasks are a little too narrow.
        needed: the n that would tell, where it does not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    label: str
    unit: str
    signed: bool
    against: str
    value: Estimate
    bound: str
    word: Word
    p: float | None
    needed: Needed | None


class Judged(BaseModel):
    """Several tests that have to agree together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    word: Word
    why: str
    tested: tuple[Tested, ...]
    p: float | None
    needed: Needed | None


def judge(value: Estimate, bounds: tuple[float | None, float | None]) -> Word:
    """`agrees` where the interval lies strictly within the bounds, `disagrees` where outside.

    An interval of no width is none: episodes that happened to be alike say nothing of others.
    """
    if value.value is None or value.low is None or value.high is None or value.low >= value.high:
        return "cannot tell"
    low, high = bounds
    if (low is None or value.low > low) and (high is None or value.high < high):
        return "agrees"
    below = low is not None and value.high < low
    above = high is not None and value.low > high
    return "disagrees" if below or above else "cannot tell"


def together(pairs: Sequence[tuple[Test, Number]]) -> Judged:
    """All must agree; one that disagrees is enough against; else it cannot be told.

    The p is the largest (intersection-union test), the n that would tell the largest of those
    that would.
    """
    tested = tuple(_tested(test, number) for test, number in pairs)
    words = [t.word for t in tested]
    word: Word = "agrees"
    if "disagrees" in words:
        word = "disagrees"
    elif "cannot tell" in words:
        word = "cannot tell"
    ps = [t.p for t in tested if t.p is not None]
    why = "; ".join(said(t) for t in tested)
    return Judged(
        word=word,
        why=why,
        tested=tested,
        p=max(ps) if len(ps) == len(tested) else None,
        needed=_most([t.needed for t in tested if t.needed]) if word == "cannot tell" else None,
    )


def said(found: Tested) -> str:
    """`+0.12 [...], n = 20, claimed above 0.00: cannot tell`."""
    told = interval(found.value, found.unit, signed=found.signed)
    text = f"{found.label}: {told}; claimed {found.bound}: {found.word}"
    return f"{text}, {found.needed.told}" if found.needed is not None else text


def _tested(test: Test, number: Number) -> Tested:
    word = judge(number.value, test.bounds)
    n = None
    if word != "cannot tell" and number.p is not None and number.p > ALPHA:
        word, n = "cannot tell", _by_interval_alone(number)
    elif word == "cannot tell" and number.value.value is not None:
        n = needed(
            number.value.value, number.se, number.value.n, test.bounds,
            unit=number.counts, small=number.counts != "episodes",
        )  # fmt: skip
    return Tested(
        key=test.key,
        label=number.label,
        unit=number.unit,
        signed=number.signed,
        against=number.against,
        value=number.value,
        bound=_bound(test, number),
        word=word,
        p=number.p,
        needed=n,
    )


def _by_interval_alone(number: Number) -> Needed:
    told = f"the interval leaves out the bound, the test does not ({p_value(number.p)}, adjusted)"
    return Needed(n=None, unit=number.counts, never=False, told=told)


def _bound(test: Test, number: Number) -> str:
    def plain(x: float) -> str:
        return amount(x, number.unit, signed=number.signed) if x else "0"

    if test.within is not None:
        return f"within {plain(test.within[0])} and {plain(test.within[1])}"
    if test.above is not None:
        return f"above {plain(test.above)}"
    return f"below {plain(test.below or 0.0)}"


def _most(found: Sequence[Needed]) -> Needed | None:
    """The hardest: never, then unknown, then the largest n."""
    return max(found, key=lambda x: (x.never, x.n is None, x.n or 0), default=None)
