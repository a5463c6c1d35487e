"""Playing a comparison: entry by entry, resumable, one entry's failure leaving the others alone."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from vlascope.comparison import expansion
from vlascope.comparison.expansion import Asked
from vlascope.comparison.facts import EntryRecord, PolicyFacts, facts_of, keep_record
from vlascope.comparison.folder import keep_file, refuse_other_file
from vlascope.comparison.reading import read_comparison
from vlascope.comparison.schema import ComparisonFile
from vlascope.errors import DiskFull, StudyFileError, unknown_name
from vlascope.store.durable import write_atomically
from vlascope.study.execution import run_study
from vlascope.study.executors import load_policy
from vlascope.study.run_directory import refuse_another

__all__ = ["Prepared", "prepare", "run_comparison", "write_results"]

Say = Callable[[str], None]
Where = Literal["local", "ray"]
RESULTS = "comparison.json"


@dataclass(frozen=True)
class Prepared:
    """An entry before anything is played.

    Attributes:
        asked: its study, or None where the policy could not be loaded.
        record: what its folder will hold of it.
        questions: those that are to be played now; all where there are none.
    """

    name: str
    asked: Asked | None
    record: EntryRecord
    questions: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """What would be played, and what is not asked and why."""
        if self.asked is None:
            return [f"{self.name}: cannot be played: {self.record.error}"]
        said = [f"{self.name}: {self.asked.arms} arms, at most {self.asked.episodes} episodes"]
        for question, why in self.record.not_applicable.items():
            if not self.questions or question in self.questions:
                said.append(f"  {question} is not applicable: {why}")
        return said


@dataclass
class Ended:
    """How a run of a comparison ended.

    Attributes:
        failed: why, by entry that could not be played at all.
        complaints: a line per arm that did not finish, by entry.
    """

    failed: dict[str, str] = field(default_factory=dict)
    complaints: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every arm of every entry that it applies to is complete."""
        return not self.failed and not self.complaints


def prepare(
    file: ComparisonFile,
    entries: Sequence[str] = (),
    questions: Sequence[str] = (),
    *,
    executor: Where | None = None,
) -> list[Prepared]:
    """Load every policy, one after another, and see what it can be asked.

    Args:
        file: checked.
        entries: by name; all where there are none.
        questions: by name, to be played now; all where there are none. The others can be played
            later, into the same directory.
        executor: where to play, whatever the file says.

    Raises:
        UnknownName: there is no such entry or question.
    """
    for name in entries:
        if name not in file.entries:
            raise unknown_name("entry", name, file.entries)
    for name in questions:
        if name not in file.battery:
            raise unknown_name("question", name, file.battery)
    chosen = [name for name in file.entries if not entries or name in entries]
    return [_prepared(file, name, tuple(questions), executor) for name in chosen]


def run_comparison(
    file: ComparisonFile,
    folder: Path,
    prepared: Sequence[Prepared],
    *,
    progress: bool = True,
    tell: Say = print,
    say: Say = print,
) -> Ended:
    """Play everything that is not finished, and write the results down.

    Args:
        file: checked.
        folder: the comparison's directory; made where it does not exist.
        prepared: the entries to play.
        progress: show progress bars.
        tell: told which entry is being played and how it ended, a line each.
        say: told what goes wrong, a line each.

    Raises:
        StudyFileError: the directory belongs to another version of the comparison; nothing was
            played.
        DiskFull: no space is left; a later run goes on from there.
    """
    refuse_other_file(folder, file, [entry.name for entry in prepared])
    _refuse_others(folder, prepared)
    keep_file(folder, file)
    ended = Ended()
    for at, entry in enumerate(prepared, start=1):
        keep_record(folder / entry.name, entry.record)
        if entry.asked is None:
            ended.failed[entry.name] = entry.record.error
            say(entry.sentences()[0])
            continue
        tell(f"[{at}/{len(prepared)}] {entry.sentences()[0]}")
        if entry.asked.now != ():
            _play(folder, entry, entry.asked, ended, progress, tell, say)
    write_results(folder)
    return ended


def write_results(folder: Path) -> Path:
    """Write `comparison.json`: every entry's facts, numbers and what was not asked of it."""
    path = folder / RESULTS
    text = json.dumps(read_comparison(folder).as_json(), indent=1)
    write_atomically(path, text.encode())
    return path


def _prepared(
    file: ComparisonFile, name: str, questions: tuple[str, ...], executor: Where | None
) -> Prepared:
    """One entry; whatever its policy does while it is loaded is an outcome, not an exception."""
    try:
        facts, found = _look(file, name)
    except Exception as error:  # a policy is somebody else's code
        return Prepared(name, None, EntryRecord(error=_words(error)), questions)
    gc.collect()
    if executor is not None:
        chosen = found.study.executor.model_copy(update={"kind": executor})
        found = replace(found, study=found.study.model_copy(update={"executor": chosen}))
    record = EntryRecord(facts=facts, not_applicable=dict(found.not_applicable))
    return Prepared(name, found.only(questions) if questions else found, record, questions)


def _look(file: ComparisonFile, name: str) -> tuple[PolicyFacts, Asked]:
    """What the policy is and what it is asked; it is let go of again."""
    adapter = load_policy(file.entries[name].policy)
    return facts_of(adapter), expansion.asked(file, name, adapter)


def _refuse_others(folder: Path, prepared: Sequence[Prepared]) -> None:
    """Check that every entry's folder is its study's before the first of them is played."""
    for entry in prepared:
        if entry.asked is not None:
            try:
                refuse_another(folder / entry.name, entry.asked.study)
            except StudyFileError as error:
                raise StudyFileError(f"entry {entry.name}: {error}") from None


def _play(
    folder: Path,
    entry: Prepared,
    asked: Asked,
    ended: Ended,
    progress: bool,
    tell: Say,
    say: Say,
) -> None:
    began = time.monotonic()
    try:
        outcome = run_study(
            asked.study,
            folder / entry.name,
            recipes=asked.now or (),
            lenient=True,
            progress=progress,
            say=say,
        )
    except DiskFull:
        raise
    except Exception as error:  # the next entry has nothing to do with it
        ended.failed[entry.name] = _words(error)
        keep_record(folder / entry.name, entry.record.model_copy(update={"error": _words(error)}))
        say(f"{entry.name}: failed: {_words(error)}")
        return
    if not outcome.ok:
        ended.complaints[entry.name] = outcome.complaints
    minutes = (time.monotonic() - began) / 60
    left = f", {len(outcome.complaints)} arms did not finish" if outcome.complaints else ""
    tell(f"{entry.name}: {minutes:.1f} minutes{left}")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
