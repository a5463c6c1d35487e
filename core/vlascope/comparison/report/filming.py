"""Film strips across entries: the same task and seed, a row per policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlascope.comparison.reading import ComparisonResult, EntryResult
from vlascope.report.strips import StripPanel, StripRow, strip_row
from vlascope.study.groups import Cell

__all__ = ["MOST_PANELS", "film_panels"]

MOST_PANELS = 8


def film_panels(result: ComparisonResult) -> tuple[StripPanel, ...]:
    """Plain episodes first, then the first filmed arm of each question, by task and seed.

    A panel's `policy` names the arm; its rows' `arm` name the entries.
    """
    seen = [entry for entry in result.entries if entry.measuring is not None]
    panels = []
    for arm in _arms(seen, tuple(result.questions)):
        for cell in _cells(seen, arm):
            rows = tuple(row for entry in seen for row in _rows(entry, arm, cell))
            panels.append(StripPanel(policy=arm, task=cell[0], seed=cell[1], rows=rows))
    return tuple(panels[:MOST_PANELS])


def _arms(entries: Sequence[EntryResult], questions: Sequence[str]) -> tuple[str, ...]:
    """The plain arm, then of each question the first arm that any entry filmed."""
    found = [e.measuring.design.study.baseline_arm for e in entries if e.measuring is not None]
    filmed = list(dict.fromkeys(arm for entry in entries for arm in _filmed(entry)))
    for question in questions:
        found += [arm for arm in filmed if arm.startswith(f"{question}_")][:1]
    return tuple(dict.fromkeys(found))


def _filmed(entry: EntryResult) -> Iterator[str]:
    """Arms with pictures that the entry's own report would show."""
    if entry.measuring is None:
        return
    shown = entry.measuring.design.study.report.strip_arms
    for group in entry.measuring.design.groups:
        wanted = group.role == "arm" and (shown is None or group.arm in shown)
        played = entry.measuring.episodes.of(entry.name, group.arm) if wanted else []
        if any(e.ok and e.record.frames for e in played):
            yield group.arm


def _cells(entries: Sequence[EntryResult], arm: str) -> tuple[Cell, ...]:
    """Tasks and seeds with pictures, those that most entries have first; two at most."""
    counts: dict[Cell, int] = {}
    for entry in entries:
        if entry.measuring is None:
            continue
        for episode in entry.measuring.episodes.of(entry.name, arm):
            if episode.ok and episode.record.frames is not None:
                counts[episode.cell] = counts.get(episode.cell, 0) + 1
    return tuple(sorted(counts, key=lambda cell: -counts[cell])[:2])


def _rows(entry: EntryResult, arm: str, cell: Cell) -> Iterator[StripRow]:
    if entry.measuring is None:
        return
    episode = entry.measuring.episodes.ok(entry.name, arm, cell)
    row = None if episode is None else strip_row(episode)
    if row is not None:
        yield row.model_copy(update={"arm": entry.name})
