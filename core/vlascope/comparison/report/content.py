"""Everything a comparison's report says, as data; pages and tables only lay it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from vlascope.comparison.claims import Claim, load_claims
from vlascope.comparison.members import Member, Spot, members_of
from vlascope.comparison.pooling import pool
from vlascope.comparison.reading import ComparisonResult, EntryResult, read_comparison
from vlascope.comparison.report.chapters import Chapter, chapter
from vlascope.comparison.report.entries import (
    EntryLine,
    ReceiptSum,
    entry_lines,
    receipt_sums,
    versions,
)
from vlascope.comparison.report.filming import film_panels
from vlascope.comparison.report.findings import FindingLine, finding_lines
from vlascope.comparison.report.matrix import MatrixCell, MatrixRow, cell_of
from vlascope.comparison.report.places import Held, held_of, matched
from vlascope.report.strips import StripPanel

__all__ = ["ComparisonContent", "collect", "content_of"]


class ComparisonContent(BaseModel):
    """The report as data; `report` in `comparison.json` is exactly this.

    Attributes:
        file: the comparison as it was written, YAML.
        families: of every entry, which share colour and symbol.
        findings: published claims and what was found, those that were decided first.
        questions: title by name.
        matrix: entries by questions.
        chapters: one per question.
        entries: what was compared.
        receipts: what edits did.
        films: pictures of the same task and seed under several policies.
        versions: of packages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.comparison_report/1"] = "vlascope.comparison_report/1"
    name: str
    title: str
    about: str
    file: str
    families: dict[str, str]
    findings: tuple[FindingLine, ...]
    questions: dict[str, str]
    matrix: tuple[MatrixRow, ...]
    chapters: tuple[Chapter, ...]
    entries: tuple[EntryLine, ...]
    receipts: tuple[ReceiptSum, ...]
    films: tuple[StripPanel, ...]
    versions: dict[str, str]


def collect(folder: str | Path) -> ComparisonContent:
    """Read a comparison's directory and work everything out.

    Raises:
        FileMissing: no comparison was run there.
        CorruptFile: a file in it is truncated or foreign.
    """
    return content_of(read_comparison(folder))


def content_of(result: ComparisonResult) -> ComparisonContent:
    """The same of a comparison that was read."""
    members = members_of(result)
    claimed = frozenset(key for claim in load_claims() for key in claim.keys)
    findings = finding_lines(members, partial(_question, result), result.file.contrasts)
    held = {question: _held(result, question, claimed) for question in result.questions}
    plain = result.file.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return ComparisonContent(
        name=result.file.name,
        title=result.file.title or result.file.name,
        about=result.file.about,
        file=yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100),
        families={e.name: e.family for e in result.entries},
        findings=findings,
        questions=dict(result.questions),
        matrix=tuple(_row(entry, result, held, findings) for entry in result.entries),
        chapters=tuple(_chapter(result, q, held[q], members, claimed) for q in result.questions),
        entries=entry_lines(result),
        receipts=receipt_sums(result),
        films=film_panels(result),
        versions=versions(result),
    )


def _question(result: ComparisonResult, claim: Claim) -> str:
    """Where the report speaks of a claim: the question that reports its numbers."""
    tested = {t.key for t in claim.tests}
    kinds = [n for n, q in result.file.battery.items() if q["kind"] == claim.question]
    for name in kinds:
        for entry in result.entries:
            if any(q.key in tested for q in entry.quantities.get(name, ())):
                return name
    return next(iter(kinds), "")


def _held(result: ComparisonResult, question: str, claimed: frozenset[str]) -> tuple[Held, ...]:
    """Numbers of a question, those that claims speak of first."""
    found = held_of(
        {e.name: e.quantities[question] for e in result.entries if question in e.quantities}
    )
    return tuple(sorted(found, key=lambda h: h.key not in claimed))


def _chapter(
    result: ComparisonResult, question: str, held: Sequence[Held], members: Sequence[Member],
    claimed: frozenset[str],
) -> Chapter:  # fmt: skip
    """A question's chapter, with what can be pooled of this question's own numbers."""
    own = [
        replace(m, quantities=tuple(matched(q) for q in answered.get(question, ())))
        for m in members
        for answered in (result.entry(m.name).quantities,)
    ]
    pooled = {one.spot: found for one in held if (found := pool(own, one.spot)) is not None}
    return chapter(result, question, held, pooled, claimed.__contains__)


def _row(
    entry: EntryResult,
    result: ComparisonResult,
    held: dict[str, tuple[Held, ...]],
    findings: Sequence[FindingLine],
) -> MatrixRow:
    cells, told = list[MatrixCell](), set[Spot]()
    for question in result.questions:
        cells.append(_cell(entry, question, held[question], findings, told))
        told |= {h.spot for h in held[question] if entry.name in h.by_entry}
    return MatrixRow(entry=entry.name, cells=tuple(cells))


def _cell(
    entry: EntryResult,
    question: str,
    held: Sequence[Held],
    findings: Sequence[FindingLine],
    told: Container[Spot],
) -> MatrixCell:
    """With the verdict of the first claim that speaks of the number shown."""
    mine = [
        v for f in findings if f.question == question for v in f.by_entry if v.subject == entry.name
    ]
    verdicts = {
        (t.key, v.pathway, v.depth, v.site): t.word for v in reversed(mine) for t in v.tested
    }
    counts: Counter[str] = Counter(v.word for v in mine if v.tested)
    return cell_of(entry, question, held, verdicts, counts, told)
