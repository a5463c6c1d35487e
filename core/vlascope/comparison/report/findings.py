"""Published claims, and what this comparison says to each, in a sentence and in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from vlascope.comparison.claims import Claim, Published, load_claims
from vlascope.comparison.judging import Tested
from vlascope.comparison.members import Member, Spot
from vlascope.comparison.pooling import Pooled, pool
from vlascope.comparison.report.drawings import is_null
from vlascope.comparison.report.saying import capital
from vlascope.comparison.verdicts import Verdict, verdicts
from vlascope.report.wording import amount, bare, interval

__all__ = ["FindingLine", "Word", "finding_lines", "heterogeneity"]

Word = Literal["agrees", "disagrees", "mixed", "cannot tell", "not applicable"]
ORDER: Final[tuple[Word, ...]] = ("disagrees", "agrees", "mixed", "cannot tell", "not applicable")


class FindingLine(BaseModel):
    """A published claim beside what was measured here.

    Attributes:
        claim: its id.
        section: of the methods that it belongs to.
        question: of the battery; empty where none speaks to it.
        statement, published, rule: as in the claim.
        word: over all architectures where they can be pooled; else what entries say together,
            `mixed` where some agree and some disagree.
        sentences: what was found, each with effect, interval, n, control and the claimed bound.
        counts: verdicts of single entries.
        overall: pooled verdicts or contrasts, by place.
        by_entry: verdicts of single entries, by place.
        why: why nothing speaks to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: str
    section: str
    question: str
    statement: str
    published: tuple[Published, ...]
    rule: str
    word: Word
    sentences: tuple[str, ...]
    counts: dict[str, int]
    overall: tuple[Verdict, ...]
    by_entry: tuple[Verdict, ...]
    why: str = ""

    @property
    def needed(self) -> str:
        """What would tell, where this cannot; empty where it can."""
        told = (v.needed.told for v in (*self.overall, *self.by_entry) if v.needed is not None)
        return next(told, "")


def finding_lines(
    members: Sequence[Member],
    question: Callable[[Claim], str],
    contrasts: Mapping[str, tuple[str, str]],
) -> tuple[FindingLine, ...]:
    """Every known claim, those that were decided first.

    Args:
        members: the entries with numbers.
        question: of the battery that speaks to a claim; empty where none does.
        contrasts: pairs of entries by name.
    """
    found = verdicts(members, contrasts=contrasts)
    lines = [
        _line(c, [v for v in found if v.claim == c.id], question(c), members) for c in load_claims()
    ]
    return tuple(sorted(lines, key=lambda line: ORDER.index(line.word)))


def _line(
    claim: Claim, mine: Sequence[Verdict], question: str, members: Sequence[Member]
) -> FindingLine:
    overall = tuple(v for v in mine if v.kind != "entry")
    single = tuple(v for v in mine if v.kind == "entry")
    counts = Counter(v.word for v in single)
    word = _word([v.word for v in overall])
    if word == "not applicable":
        word = _word([v.word for v in single])
    speaking = [v for v in overall if v.tested] or [v for v in single if v.tested]
    why = claim.cannot or next((v.why for v in (*overall, *single) if not v.tested), "")
    return FindingLine(
        claim=claim.id,
        section=claim.section,
        question=question,
        statement=claim.statement,
        published=claim.published,
        rule=claim.rule,
        word=word,
        sentences=tuple(_sentence(v, t, members) for v in speaking for t in v.tested),
        counts={str(word): n for word, n in counts.items()},
        overall=overall,
        by_entry=single,
        why=why if word == "not applicable" else "",
    )


def _word(words: Sequence[str]) -> Word:
    """All of them in one."""
    told = set(words) & {"agrees", "disagrees"}
    if len(told) == 2:
        return "mixed"
    if told and "cannot tell" not in words:
        return "agrees" if "agrees" in told else "disagrees"
    if "disagrees" in told:
        return "disagrees"
    return "cannot tell" if set(words) - {"not applicable"} else "not applicable"


def _sentence(verdict: Verdict, tested: Tested, members: Sequence[Member]) -> str:
    at = ", ".join(p for p in (verdict.pathway, verdict.depth, verdict.site) if p)
    who = "" if verdict.kind == "pooled" else f"{verdict.subject}: "
    what = tested.label if who else capital(tested.label)
    told = interval(tested.value, tested.unit, signed=tested.signed)
    if verdict.kind == "pooled":
        told += " architectures"
    beside = f", against {tested.against}" if tested.against else ""
    beside = "" if beside and beside.removeprefix(", ") in what else beside
    beside += _under_control(verdict, tested, members)
    return f"{who}{what}{f' ({at})' if at else ''}: {told}{beside}; claimed {tested.bound}."


def _under_control(verdict: Verdict, tested: Tested, members: Sequence[Member]) -> str:
    """`; with random direction 0.14 [0.00, 0.31], n = 7 architectures`: the same beside it.

    By chance where that was measured, else under the first control; nothing for a difference, which
    is from its control already.
    """
    if tested.signed:
        return ""
    names = {verdict.subject}
    if verdict.kind == "pooled":
        names = {e for line in verdict.pooled for family in line.families for e in family.entries}
    told: dict[str, str] = {}
    own = [m for m in members if m.name in names]
    for spot, name in _controls(verdict, tested, own).items():
        if verdict.kind == "pooled":
            found = pool(own, spot)
            value, counts = None if found is None else found.value, " architectures"
        else:
            value, counts = own[0].by_spot[spot].value, ""
        if value is not None and value.value is not None:
            told[name] = f"; with {name} {interval(value, tested.unit)}{counts}"
    return min(told.items(), key=lambda both: not is_null(both[0]))[1] if told else ""


def _controls(verdict: Verdict, tested: Tested, own: Sequence[Member]) -> dict[Spot, str]:
    """The same measure under each control at the same place, and the control's name."""
    measured = Spot(tested.key, verdict.pathway, verdict.depth, verdict.site)
    return {
        spot: name
        for member in own
        for spot, quantity in member.by_spot.items()
        if (name := measured.control_in(spot))
        and not quantity.signed
        and quantity.unit == tested.unit
    }


def heterogeneity(line: Pooled) -> str:
    """`5 architectures, 7 entries, 420 episodes; I² 0.41, τ 0.10; another in [...]`."""
    entries = sum(len(f.entries) for f in line.families)
    text = f"{line.value.n} architectures, {entries} entries, {line.episodes:,} episodes"
    text += f"; I² {line.i2:.2f}, τ {amount(line.tau, line.unit)}"
    if line.seeds is not None:
        between, within = (amount(s.observed, line.unit) for s in (line.architectures, line.seeds))
        text += f"; they differ by {between} (SD), seeds of one by {within}"
    if line.prediction is not None:
        low, high = line.prediction
        ends = bare(low, line.unit, signed=line.signed), amount(high, line.unit, signed=line.signed)
        text += f"; another architecture in [{ends[0]}, {ends[1]}]"
    return text
