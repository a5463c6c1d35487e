"""From a comparison file to one that is checked, with errors that point at the line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vlascope import plugins
from vlascope.comparison.expansion import OPTIONS_OF_A_STUDY, bare_study
from vlascope.comparison.schema import ComparisonFile, Entry
from vlascope.study.checking import problems_of as study_problems
from vlascope.study.loading import problem_of, refusal
from vlascope.study.located_yaml import read_located
from vlascope.study.problems import Problem, known_name
from vlascope.study.shipped import COMPARISONS, find_shipped

__all__ = ["load_comparison"]


def load_comparison(path: str | Path) -> ComparisonFile:
    """Read and check a comparison file; no policy or simulator is started.

    Args:
        path: a YAML file, or the name of a comparison that a plugin ships.

    Raises:
        StudyFileError: every problem found, each with `file:line:column`.
    """
    located = read_located(find_shipped(path, COMPARISONS))
    try:
        file = ComparisonFile.model_validate(located.data)
    except ValidationError as error:
        raise refusal(located, [problem_of(dict(e)) for e in error.errors()]) from None
    found = [*_battery(file), *_entries(file), *_contrasts(file)]
    if found:
        raise refusal(located, found)
    return file


def _battery(file: ComparisonFile) -> Iterator[Problem]:
    for name, question in file.battery.items():
        yield from _question(("battery", name), question.get("kind"), question)


def _question(
    at: tuple[str | int, ...], kind: Any, options: Mapping[str, Any]
) -> Iterator[Problem]:
    """What is wrong with a recipe's options, as far as that can be told without a policy."""
    if not isinstance(kind, str):
        yield Problem(at, f"a question needs `kind`, one of {sorted(plugins.recipes())}")
        return
    if kind not in plugins.recipes():
        yield from known_name((*at, "kind"), kind, plugins.recipes(), "recipe")
        return
    recipe = plugins.recipe_class(kind)
    strangers = [key for key in options if key not in {"kind", *recipe.model_fields}]
    for key in strangers:
        yield from known_name((*at, key), str(key), recipe.model_fields, f"option of {kind}")
    try:
        recipe.model_validate({k: v for k, v in options.items() if k not in strangers})
    except ValidationError as error:
        for e in error.errors():
            if e["type"] != "missing":  # what a policy's own pathways fill in
                found = problem_of(dict(e))
                yield Problem((*at, *found.at), found.message)


def _contrasts(file: ComparisonFile) -> Iterator[Problem]:
    for name, pair in file.contrasts.items():
        for i, entry in enumerate(pair):
            if entry not in file.entries:
                yield from known_name(("contrasts", name, i), entry, file.entries, "entry")


def _entries(file: ComparisonFile) -> Iterator[Problem]:
    for name, entry in file.entries.items():
        at = ("entries", name)
        strange = [q for q in entry.battery if q not in file.battery]
        for question in strange:
            yield from known_name((*at, "battery", question), question, file.battery, "question")
        for question, own in entry.battery.items():
            if own is None or question in strange:
                continue
            kind = file.battery[question].get("kind")
            if own.get("kind", kind) != kind:
                yield Problem((*at, "battery", question, "kind"), f"{question} is of kind {kind!r}")
            yield from _question((*at, "battery", question), kind, own)
        yield from (_located(entry, name, p) for p in study_problems(bare_study(file, name)))


def _located(entry: Entry, name: str, problem: Problem) -> Problem:
    """A complaint about an entry's study, at the place in the comparison where it was written."""
    if problem.at[:1] == ("policies",):
        return Problem(("entries", name, "policy", *problem.at[2:]), problem.message)
    shared = problem.at[:1] and problem.at[0] not in entry.given()
    if shared and problem.at[0] in OPTIONS_OF_A_STUDY:
        return Problem(("defaults", *problem.at), problem.message)
    return Problem(("entries", name, *problem.at), problem.message)
