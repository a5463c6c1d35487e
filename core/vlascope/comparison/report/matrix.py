"""The matrix of entries by questions: the main number of each, or why there is none."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from vlascope.comparison.members import Spot
from vlascope.comparison.reading import EntryResult
from vlascope.comparison.report.places import Held
from vlascope.statistics import Estimate

__all__ = ["MatrixCell", "MatrixRow", "cell_of"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MatrixCell(_Frozen):
    """What one entry answers to one question.

    Attributes:
        label: what the number is; empty without one.
        value: with interval and n; None where `reason` says why.
        verdict: against the claim that speaks of this number; empty where none does.
        counts: verdicts of the claims that this entry's numbers speak to, `{agrees: 2, ...}`.
    """

    question: str
    label: str = ""
    value: Estimate | None = None
    unit: str = "share"
    signed: bool = False
    against: str = ""
    verdict: str = ""
    counts: dict[str, int] = {}
    reason: str = ""


class MatrixRow(_Frozen):
    """An entry's cells, one per question."""

    entry: str
    cells: tuple[MatrixCell, ...]


def cell_of(
    entry: EntryResult,
    question: str,
    held: Sequence[Held],
    verdicts: Mapping[tuple[str, str, str, str], str],
    counts: Mapping[str, int],
    elsewhere: Container[Spot] = (),
) -> MatrixCell:
    """The first number, in the order of `held`, that the entry has.

    Those that a claim was judged by come first, and those of another question too come last.

    Args:
        entry: whose cell.
        question: which.
        held: the question's numbers, those that claims speak of first.
        verdicts: this entry's, by key, pathway, depth and site.
        counts: how often each verdict falls to this entry and question.
        elsewhere: what the questions before it told already.
    """
    why = reason(entry, question)
    mine = [h for h in held if entry.name in h.by_entry]
    first = sorted(mine, key=lambda h: (_coordinates(h) not in verdicts, h.spot in elsewhere))
    for one in first if not why else ():
        quantity = one.by_entry[entry.name]
        if entry.name in one.values:
            return MatrixCell(
                question=question,
                label=one.title,
                value=quantity.value,
                unit=quantity.unit,
                signed=quantity.signed,
                against=quantity.against,
                verdict=verdicts.get(_coordinates(one), ""),
                counts=dict(counts),
            )
    told = [h.by_entry[entry.name].why_not for h in mine if h.by_entry[entry.name].why_not]
    said = why or "; ".join(dict.fromkeys(told)) or "it reports no number that can be compared"
    return MatrixCell(question=question, reason=said)


def _coordinates(one: Held) -> tuple[str, str, str, str]:
    return one.key, one.spot.pathway, one.spot.depth, one.spot.site


def reason(entry: EntryResult, question: str) -> str:
    """Why an entry has no numbers for a question as a whole; empty where it has."""
    if question in entry.not_applicable:
        return f"not applicable: {entry.not_applicable[question]}"
    if question in entry.problems:
        return entry.problems[question]
    if entry.status == "failed":
        return f"failed: {entry.error}"
    return "" if question in entry.quantities else "not run yet"
