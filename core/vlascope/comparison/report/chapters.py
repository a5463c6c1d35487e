"""A chapter per question: figures over entries, every number in rows, and what cannot be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from vlascope.comparison.members import Spot
from vlascope.comparison.pooling import Pooled
from vlascope.comparison.reading import ComparisonResult, EntryResult
from vlascope.comparison.report.arranging import arranged
from vlascope.comparison.report.drawings import Drawing, ForestRow
from vlascope.comparison.report.matrix import reason
from vlascope.comparison.report.places import Held, where
from vlascope.study.quantity import Quantity

__all__ = ["Chapter", "NumberRow", "Said", "chapter"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NumberRow(_Frozen):
    """The same number of several entries.

    Attributes:
        title: what and where.
        numbers: by entry; those without a value say why.
        pooled: over entries; None where it is not.
    """

    title: str
    key: str
    where: str
    numbers: dict[str, Quantity]
    pooled: Pooled | None = None


class Said(_Frozen):
    """What an entry's own chapter says in words."""

    entry: str
    sentences: tuple[str, ...]
    unresolved: tuple[str, ...]


class Chapter(_Frozen):
    """A question over all entries.

    Attributes:
        kind: of the recipe.
        options: of the battery, as they are written.
        drawings: figures over entries, those that claims speak of first.
        rows: every number.
        without: entries without an answer, and why.
        said: by entry, its own chapter in words.
        methods: how the intervals came about, each once.
    """

    question: str
    title: str
    kind: str
    options: dict[str, object]
    drawings: tuple[Drawing, ...]
    rows: tuple[NumberRow, ...]
    without: dict[str, str]
    said: tuple[Said, ...]
    methods: tuple[str, ...]


def chapter(
    result: ComparisonResult,
    question: str,
    held: Sequence[Held],
    lines: Mapping[Spot, Pooled],
    claimed: Callable[[str], bool],
) -> Chapter:
    """One question's chapter.

    Args:
        result: the comparison.
        question: its name.
        held: its numbers.
        lines: what was pooled of them, by place.
        claimed: whether a claim speaks of a key.
    """
    battery = dict(result.file.battery[question])
    kind = str(battery.pop("kind"))
    pooled = {place: _pooled_row(line) for place, line in lines.items()}
    measured = [v for h in held for v in h.values.values()]
    return Chapter(
        question=question,
        title=result.questions[question],
        kind=kind,
        options=battery,
        drawings=arranged(question, held, pooled, claimed),
        rows=tuple(_row(h, lines.get(h.spot)) for h in held),
        without={e.name: why for e in result.entries if (why := reason(e, question))},
        said=tuple(s for e in result.entries if (s := _said(e, question)) is not None),
        methods=tuple(dict.fromkeys(v.method for v in measured)),
    )


def _row(one: Held, pooled: Pooled | None) -> NumberRow:
    return NumberRow(
        title=one.title,
        key=one.key,
        where=where(one.spot),
        numbers=dict(one.by_entry),
        pooled=pooled,
    )


def _pooled_row(line: Pooled) -> ForestRow:
    return ForestRow(label="pooled", value=line.value, spread=line.prediction)


def _said(entry: EntryResult, question: str) -> Said | None:
    section = entry.sections.get(question)
    if section is None or not (section.sentences or section.unresolved):
        return None
    return Said(entry=entry.name, sentences=section.sentences, unresolved=section.unresolved)
