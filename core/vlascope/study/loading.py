"""From a study file to a validated study, with errors that point at the line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vlascope.errors import StudyFileError
from vlascope.study.checking import problems_of
from vlascope.study.expansion import Unfit, expanded
from vlascope.study.located_yaml import Located, read_located
from vlascope.study.problems import Problem
from vlascope.study.schema import Study
from vlascope.study.shipped import STUDIES, find_shipped

__all__ = ["load_study", "problem_of", "refusal"]


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read, override, expand and check a study file; no policy or simulator is started.

    Args:
        path: a YAML file, or the name of a study that a plugin ships.
        overrides: `dotted.path=value`, the value read as YAML (`seeds=0-4`).

    Raises:
        StudyFileError: every problem found, each with `file:line:column`.
    """
    located = read_located(find_shipped(path, STUDIES))
    for assignment in overrides:
        located.override(assignment)
    try:
        study = expanded(Study.model_validate(located.data))
    except ValidationError as error:
        raise refusal(located, [problem_of(dict(e)) for e in error.errors()]) from None
    except Unfit as error:
        raise refusal(located, error.problems) from None
    found = problems_of(study)
    if found:
        raise refusal(located, found)
    return study


def refusal(located: Located, problems: Sequence[Problem]) -> StudyFileError:
    """One error for all problems, each with the place in the file that it is about."""
    lines = [f"{located.where(p.at)}: {_dotted(p.at)}{p.message}" for p in problems]
    return StudyFileError("\n".join(dict.fromkeys(lines)))


def problem_of(error: dict[str, Any]) -> Problem:
    """One of pydantic's complaints in our words."""
    at = tuple(error["loc"])
    kind, message = error["type"], error["msg"]
    if kind == "unknown_key":
        at = (*at, error["ctx"]["key"])
    elif kind == "missing":
        at, message = at[:-1], f"{at[-1]!r} is required here"
    elif kind == "string_pattern_mismatch":
        message = f"expected a name of letters, digits and _, got {error['input']!r}"
    elif kind != "value_error":
        message = f"{message}; got {error['input']!r}"
    return Problem(at, message.removeprefix("Value error, "))


def _dotted(at: Sequence[str | int]) -> str:
    shown = [str(part) for part in at if part not in ("text", "mapping", "[key]")]
    return f"{'.'.join(shown)}: " if shown else ""
