"""A comparison that was run, in part or as a whole, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vlascope import plugins
from vlascope.comparison.facts import EntryFacts, EntryRecord, PlayFacts, read_record
from vlascope.comparison.folder import read_file
from vlascope.comparison.schema import ComparisonFile
from vlascope.errors import VlascopeError
from vlascope.report.chapters import chapter
from vlascope.rollout.log import read_log
from vlascope.sections import Section
from vlascope.study.analysing import read_results
from vlascope.study.choosing import was_begun
from vlascope.study.design import design
from vlascope.study.expansion import recipe_of
from vlascope.study.measuring import Measuring
from vlascope.study.quantity import Quantity
from vlascope.study.recipe import Reading
from vlascope.study.run_directory import MANIFEST, ArmOutcome, read_run

__all__ = ["SCHEMA", "ComparisonResult", "EntryResult", "Status", "read_comparison"]

SCHEMA = "vlascope.comparison/1"

Status = Literal["finished", "partial", "failed", "not run"]


@dataclass(frozen=True)
class EntryResult:
    """One column of the comparison.

    Attributes:
        name: in the file; also the policy's name in its study.
        family: entries of one family are seeds of one architecture.
        pooled: whether it counts where architectures are pooled.
        title: what the report calls it.
        folder: its study's run directory.
        status: `finished`; `partial`, with arms that did not finish or were not played yet;
            `failed` as a whole, with `error`; or `not run`.
        facts: of the policy and what it played; None where it was never loaded.
        quantities: by question, in the battery's order; only of questions that were asked.
        sections: chapters by question.
        not_applicable: why a question was not asked, by question.
        problems: why the numbers of a question that was asked could not be had, by question.
        measuring: its episodes, for film strips and receipts; None where none was played.
        outcomes: how each arm, and each analysis as `analysis:NAME`, ended.
        error: why it failed as a whole.
    """

    name: str
    family: str
    title: str
    folder: Path
    status: Status
    pooled: bool = True
    facts: EntryFacts | None = None
    quantities: Mapping[str, tuple[Quantity, ...]] = field(default_factory=dict)
    sections: Mapping[str, Section] = field(default_factory=dict)
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    measuring: Measuring | None = None
    outcomes: Mapping[str, ArmOutcome] = field(default_factory=dict)
    error: str = ""

    @property
    def every_quantity(self) -> tuple[Quantity, ...]:
        """Of all questions, one after another."""
        return tuple(q for found in self.quantities.values() for q in found)

    def as_json(self) -> dict[str, Any]:
        """Plain data, without chapters and episodes."""
        return {
            "name": self.name,
            "family": self.family,
            "pooled": self.pooled,
            "title": self.title,
            "folder": str(self.folder.name),
            "status": self.status,
            "error": self.error,
            "facts": None if self.facts is None else self.facts.model_dump(mode="json"),
            "quantities": {
                question: [q.model_dump(mode="json") for q in found]
                for question, found in self.quantities.items()
            },
            "not_applicable": dict(self.not_applicable),
            "problems": dict(self.problems),
            "outcomes": {arm: o.model_dump(mode="json") for arm, o in self.outcomes.items()},
        }


@dataclass(frozen=True)
class ComparisonResult:
    """Everything a comparison left on disk.

    Attributes:
        folder: its directory.
        file: as it was read when it was last run.
        entries: in the file's order, those that were not run too.
        questions: title by name of every question, in the battery's order; the recipe's title,
            with the question's name behind it where several questions are of one kind.
    """

    folder: Path
    file: ComparisonFile
    entries: tuple[EntryResult, ...]
    questions: Mapping[str, str]

    def entry(self, name: str) -> EntryResult:
        """The entry of that name."""
        return next(entry for entry in self.entries if entry.name == name)

    @property
    def families(self) -> dict[str, tuple[EntryResult, ...]]:
        """Entries by family, in the file's order."""
        found: dict[str, tuple[EntryResult, ...]] = {}
        for entry in self.entries:
            found[entry.family] = (*found.get(entry.family, ()), entry)
        return found

    def as_json(self) -> dict[str, Any]:
        """Plain data of the schema `SCHEMA`: the file, and every entry's facts and quantities."""
        return {
            "schema": SCHEMA,
            "file": self.file.model_dump(mode="json", exclude_none=True),
            "questions": dict(self.questions),
            "entries": [entry.as_json() for entry in self.entries],
        }


def read_comparison(folder: str | Path) -> ComparisonResult:
    """Read a comparison's directory; entries that were not run, or only in part, say so.

    Raises:
        FileMissing: no comparison was run there.
        CorruptFile: a file in it is truncated or foreign.
    """
    where = Path(folder)
    file = read_file(where)
    return ComparisonResult(
        folder=where,
        file=file,
        entries=tuple(_entry(where, file, name) for name in file.entries),
        questions=_titles(file),
    )


def _titles(file: ComparisonFile) -> dict[str, str]:
    titles = {n: plugins.recipe_class(str(q["kind"])).title for n, q in file.battery.items()}
    several = [title for title in titles.values() if list(titles.values()).count(title) > 1]
    return {n: f"{t} ({n.replace('_', ' ')})" if t in several else t for n, t in titles.items()}


def _entry(where: Path, file: ComparisonFile, name: str) -> EntryResult:
    folder, record = where / name, read_record(where / name)
    entry = file.entries[name]
    known = EntryResult(
        name, file.family(name), entry.title or name, folder, "not run", entry.pooled
    )
    if record is None:
        return known
    known = replace(known, error=record.error, not_applicable=record.not_applicable)
    if record.facts is not None and (folder / MANIFEST).exists():
        known = _played(known, record)
    return replace(known, status="failed") if record.error else known


def _played(known: EntryResult, record: EntryRecord) -> EntryResult:
    manifest, episodes, outcomes = read_run(known.folder)
    stopped = {
        (policy, arm): frozenset(o.stopped.seeds)
        for policy, arms in outcomes.items()
        for arm, o in arms.items()
        if o.stopped is not None
    }
    measuring = Measuring(design(manifest.study), episodes, stopped)
    ended = outcomes[known.name]
    facts = None
    if record.facts is not None:
        facts = EntryFacts(policy=record.facts, play=_play(known, measuring, ended))
    asked = tuple(manifest.study.recipes)
    quantities, sections, problems = _answers(known, measuring, asked, tuple(ended))
    return replace(
        known,
        status=_status(measuring, ended),
        facts=facts,
        quantities=quantities,
        sections=sections,
        problems=problems,
        measuring=measuring,
        outcomes=ended,
    )


def _answers(
    known: EntryResult, measuring: Measuring, asked: Sequence[str], ended: Sequence[str]
) -> tuple[dict[str, tuple[Quantity, ...]], dict[str, Section], dict[str, str]]:
    """Quantities, chapters and complaints by question."""
    study = measuring.design.study
    results = read_results(known.folder / known.name, study)
    quantities: dict[str, tuple[Quantity, ...]] = {}
    sections: dict[str, Section] = {}
    problems: dict[str, str] = {}
    if known.name not in study.policies or not list(measuring.episodes):
        return quantities, sections, dict.fromkeys(asked, "no episode was played yet")
    for question in asked:
        if not was_begun(study, question, ended):
            problems[question] = "not played yet"
            continue
        reading = Reading(question, known.name, measuring, results)
        sections[question] = chapter(reading)
        try:
            quantities[question] = recipe_of(study, question).quantities(reading)
        except VlascopeError as error:
            problems[question] = str(error)
    return quantities, sections, problems


def _play(known: EntryResult, measuring: Measuring, ended: Mapping[str, ArmOutcome]) -> PlayFacts:
    study = measuring.design.study
    groups = [g for g in measuring.design.groups if not _lacking(ended.get(g.arm))]
    lines = list(read_log(known.folder / known.name))
    return PlayFacts(
        benchmark=study.benchmark.name,
        tasks=measuring.design.tasks,
        seeds=study.seeds,
        max_steps=study.max_steps,
        arms=sum(g.role != "source" for g in groups),
        planned=sum(len(g.plans) for g in groups) - _spared(ended),
        finished=sum(e.ok for e in measuring.episodes),
        errors=sum(not e.ok for e in measuring.episodes),
        tries=len(lines),
        seconds=sum(line.seconds for line in lines),
        work_seconds=sum(sum(line.phases.values()) for line in lines),
    )


def _lacking(outcome: ArmOutcome | None) -> bool:
    return outcome is not None and outcome.status == "not_applicable"


def _spared(ended: Mapping[str, ArmOutcome]) -> int:
    """Episodes of arms that stopped early."""
    stops = (o.stopped for o in ended.values() if o.stopped is not None)
    return sum(stop.planned - stop.episodes for stop in stops)


def _status(measuring: Measuring, ended: Mapping[str, ArmOutcome]) -> Status:
    if not ended:
        return "partial" if list(measuring.episodes) else "not run"
    named = [g.arm for g in measuring.design.groups]
    over = all(arm in ended for arm in named)
    sound = all(o.status in ("ok", "not_applicable") for o in ended.values())
    return "finished" if over and sound else "partial"
