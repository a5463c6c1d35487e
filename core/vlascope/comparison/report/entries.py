"""The comparison's columns: what each policy is, what it played, and what its edits did."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from vlascope.comparison.reading import ComparisonResult, EntryResult
from vlascope.report.chapters import of_a_recipe
from vlascope.report.ledgers import ReceiptLine, receipt_lines

__all__ = ["EntryLine", "ReceiptSum", "entry_lines", "receipt_sums", "versions"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EntryLine(_Frozen):
    """A policy on a benchmark; numbers are None where it was never loaded or played.

    Attributes:
        pathways: `expert: 8 layers of 256`, in the adapter's order.
        episodes: finished, of `planned`.
        seconds: wall time of all tries, summed.
    """

    entry: str
    title: str
    family: str
    status: str
    error: str = ""
    adapter: str = ""
    checkpoint: str = ""
    checkpoint_hash: str = ""
    network: str = ""
    parameters: int | None = None
    pathways: tuple[str, ...] = ()
    chunk: str = ""
    benchmark: str = ""
    tasks: int | None = None
    seeds: int | None = None
    episodes: int | None = None
    planned: int | None = None
    errors: int | None = None
    seconds: float | None = None


class ReceiptSum(_Frozen):
    """What all edits of a question did in one entry.

    Attributes:
        arms: with edits that fired; `episodes` of them.
        made: row edits, of `declared`; `mismatches` could not be made.
        smallest, largest: of the arms' mean ||dx|| / ||x||; None where nothing was changed.
    """

    entry: str
    question: str
    arms: int
    episodes: int
    made: int
    declared: int
    mismatches: int
    smallest: float | None
    largest: float | None


def entry_lines(result: ComparisonResult) -> tuple[EntryLine, ...]:
    """One per entry, in the file's order."""
    return tuple(_line(entry) for entry in result.entries)


def _line(entry: EntryResult) -> EntryLine:
    known = EntryLine(
        entry=entry.name,
        title=entry.title,
        family=entry.family,
        status=entry.status,
        error=entry.error,
    )
    if entry.facts is None:
        return known
    policy, play = entry.facts.policy, entry.facts.play
    return known.model_copy(
        update={
            "adapter": policy.adapter,
            "checkpoint": policy.checkpoint,
            "checkpoint_hash": policy.checkpoint_hash,
            "network": policy.network,
            "parameters": policy.parameters,
            "pathways": tuple(
                f"{p.name}: {p.n_layers} layer{'s' if p.n_layers != 1 else ''} of {p.width}"
                for p in policy.pathways
            ),
            "chunk": f"{policy.executed_steps} of {policy.horizon}",
            "benchmark": play.benchmark,
            "tasks": len(play.tasks),
            "seeds": len(play.seeds),
            "episodes": play.finished,
            "planned": play.planned,
            "errors": play.errors,
            "seconds": play.seconds,
        }
    )


def receipt_sums(result: ComparisonResult) -> tuple[ReceiptSum, ...]:
    """By entry and question, those that edit activations."""
    found = []
    for entry in result.entries:
        if entry.measuring is None:
            continue
        lines = receipt_lines(entry.measuring, {entry.name: entry.outcomes})
        for question in result.questions:
            mine = [line for line in lines if of_a_recipe(line.arm, {question: None})]
            if mine:
                found.append(_sum(entry.name, question, mine))
    return tuple(found)


def _sum(entry: str, question: str, lines: list[ReceiptLine]) -> ReceiptSum:
    ratios = [line.dx_ratio_mean for line in lines if line.dx_ratio_mean is not None]
    return ReceiptSum(
        entry=entry,
        question=question,
        arms=len({line.arm for line in lines}),
        episodes=sum({line.arm: line.episodes for line in lines}.values()),
        made=sum(sum(line.fired.values()) for line in lines),
        declared=sum(line.expected for line in lines),
        mismatches=sum(line.mismatches for line in lines),
        smallest=min(ratios, default=None),
        largest=max(ratios, default=None),
    )


def versions(result: ComparisonResult) -> dict[str, str]:
    """Every version of every package that any episode was played with."""
    found: dict[str, set[str]] = {}
    for entry in result.entries:
        for episode in entry.measuring.episodes if entry.measuring is not None else ():
            for package, version in episode.record.versions.items():
                found.setdefault(package, set()).add(version)
    return {package: ", ".join(sorted(v)) for package, v in sorted(found.items())}
