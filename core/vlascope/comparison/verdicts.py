"""Does what was measured agree with what was published? Only where an interval says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from vlascope.comparison.claims import Claim, Test, load_claims
from vlascope.comparison.judging import Judged, Tested, together
from vlascope.comparison.members import Member, Spot
from vlascope.comparison.numbers import Number, contrasted, derived, of_member, pooled, unmet
from vlascope.comparison.pooling import Pooled
from vlascope.comparison.sizes import Needed
from vlascope.statistics import holm

__all__ = ["POOLED", "Subject", "Verdict", "verdicts"]

POOLED: Final = "all architectures"
Subject = Literal["entry", "contrast", "pooled"]


class Verdict(BaseModel):
    """A claim beside the numbers of one entry, of a contrast of two, or of all architectures.

    Attributes:
        claim: its id.
        subject: the entry's or contrast's name, or `POOLED`; `kind` says which.
        pathway, depth, site: where, for claims that are judged place by place.
        word: `agrees` where every interval lies wholly on the claimed side, `disagrees` where one
            lies wholly on the other; `not applicable` where nothing was measured that could speak.
        why: in words.
        tested: the numbers, in the order of the claim's tests.
        p: the largest of the tests' two-sided p; None where one has none.
        p_adjusted: after Holm's adjustment over all claims with a p of this subject.
        needed: for `cannot tell`, the n that would.
        pooled: what a pooled verdict's numbers come from: of the entries that meet the claim's
            needs alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: str
    subject: str
    kind: Subject
    pathway: str = ""
    depth: str = ""
    site: str = ""
    word: Literal["agrees", "disagrees", "cannot tell", "not applicable"]
    why: str
    tested: tuple[Tested, ...] = ()
    p: float | None = None
    p_adjusted: float | None = None
    needed: Needed | None = None
    pooled: tuple[Pooled, ...] = ()


def verdicts(
    members: Sequence[Member],
    claims: Sequence[Claim] | None = None,
    contrasts: Mapping[str, tuple[str, str]] | None = None,
) -> tuple[Verdict, ...]:
    """Every claim beside every entry, every contrast it names, and all architectures together.

    Claims that cannot be tested have no verdict; they are among `load_claims()` with the reason.

    Args:
        members: the entries.
        claims: by default all that are known.
        contrasts: pairs of entries by name, such as one architecture trained on few and on many
            demonstrations.
    """
    found: list[Verdict] = []
    for claim in load_claims() if claims is None else claims:
        if claim.tests:
            found += _of_claim(claim, members, contrasts or {})
    return tuple(_adjusted(found))


def _of_claim(
    claim: Claim, members: Sequence[Member], contrasts: Mapping[str, tuple[str, str]]
) -> list[Verdict]:
    named = next((t.contrast for t in claim.tests if t.contrast), "")
    if named:
        return _of_contrast(claim, named, members, contrasts)
    fit = [m for m in members if not unmet(claim, m)]
    places = _places(claim, members)
    found: list[Verdict] = []
    if not any(t.spread_of for t in claim.tests):
        for member in members:
            reason = unmet(claim, member)
            mine = [p for p in places if _all_there(claim, member, p)]
            if reason or not mine:
                why = reason or _absent(claim, member)
                found.append(_none(claim, member.name, "entry", why))
                continue
            for place in mine:
                numbers = [of_member(t, member, _spot(t, place)) for t in claim.tests]
                found.append(_verdict(claim, member.name, "entry", place, numbers))
    together_ = [
        _verdict(claim, POOLED, "pooled", place, numbers)
        for place in places
        if all(numbers := [pooled(t, fit, _spot(t, place)) for t in claim.tests])
    ]
    return found + (together_ or [_none(claim, POOLED, "pooled", _too_few(claim, members, fit))])


def _of_contrast(
    claim: Claim, named: str, members: Sequence[Member], contrasts: Mapping[str, tuple[str, str]]
) -> list[Verdict]:
    by_name = {m.name: m for m in members}
    pair = [by_name[n] for n in contrasts.get(named, ()) if n in by_name]
    if len(pair) < 2:
        why = f"no pair of entries is named as `{named}`, or one of it has no numbers"
        return [_none(claim, named, "contrast", why)]
    for member in pair:
        if reason := unmet(claim, member):
            return [_none(claim, named, "contrast", f"{member.name}: {reason}")]
    found = []
    for place in _places(claim, pair):
        if all(_all_there(claim, m, place) for m in pair):
            numbers = [contrasted(t, pair[0], pair[1], _spot(t, place)) for t in claim.tests]
            found.append(_verdict(claim, named, "contrast", place, numbers))
    return found or [_none(claim, named, "contrast", "not measured in both")]


def _places(claim: Claim, members: Sequence[Member]) -> list[Spot]:
    """Where the claim's first test finds numbers, in the order they are first met."""
    first = claim.tests[0]
    every = dict.fromkeys(s for m in members for s in m.by_spot)
    return [
        s
        for s in every
        if s.key == first.key
        and s.at < 0
        and first.depth in (None, s.depth)
        and first.pathway in (None, s.pathway)
        and first.site in (None, s.site)
    ]


def _spot(test: Test, place: Spot) -> Spot:
    """The same place for another test, unless it names its own."""
    return replace(
        place,
        key=test.key,
        depth=place.depth if test.depth is None else test.depth,
        pathway=place.pathway if test.pathway is None else test.pathway,
        site=place.site if test.site is None else test.site,
    )


def _all_there(claim: Claim, member: Member, place: Spot) -> bool:
    found = (derived(t, member, _spot(t, place)) for t in claim.tests)
    return all(q is not None and q.value is not None and q.value.value is not None for q in found)


def _absent(claim: Claim, member: Member) -> str:
    """Why an entry has not the numbers that the claim is about."""
    keys = [t.key for t in claim.tests]
    reasons = [q.why_not for q in member.quantities if q.key in keys and q.why_not]
    missing = [k for k in keys if not any(q.key == k for q in member.quantities)]
    return next(iter(reasons), "not measured: " + ", ".join(f"`{k}`" for k in missing))


def _too_few(claim: Claim, members: Sequence[Member], fit: Sequence[Member]) -> str:
    told = "fewer than two architectures have these numbers with intervals"
    out = [f"{m.name}: {unmet(claim, m)}" for m in members if m not in fit]
    return f"{told} ({'; '.join(out)})" if out else told


def _none(claim: Claim, subject: str, kind: Subject, why: str) -> Verdict:
    return Verdict(claim=claim.id, subject=subject, kind=kind, word="not applicable", why=why)


def _verdict(
    claim: Claim, subject: str, kind: Subject, place: Spot, numbers: Sequence[Number | None]
) -> Verdict:
    pairs = zip(claim.tests, numbers, strict=True)
    judged: Judged = together([(t, n) for t, n in pairs if n is not None])
    return Verdict(
        claim=claim.id,
        subject=subject,
        kind=kind,
        pathway=place.pathway,
        depth=place.depth,
        site=place.site,
        word=judged.word,
        why=judged.why,
        tested=judged.tested,
        p=judged.p,
        needed=judged.needed,
        pooled=tuple(n.model for n in numbers if n is not None and n.model is not None),
    )


def _adjusted(found: Sequence[Verdict]) -> list[Verdict]:
    """Each subject's p-values adjusted over all of its claims."""
    by_index: dict[int, Verdict] = {}
    order = sorted(range(len(found)), key=lambda i: found[i].subject)
    for _, same in groupby(order, key=lambda i: found[i].subject):
        mine = list(same)
        for i, p in zip(mine, holm([found[i].p for i in mine]), strict=True):
            by_index[i] = found[i].model_copy(update={"p_adjusted": p})
    return [by_index[i] for i in range(len(found))]
