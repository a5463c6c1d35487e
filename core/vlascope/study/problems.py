"""A complaint about a part of a study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vlascope.errors import unknown_name

__all__ = ["Problem", "known_name"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with the part of a study at a path."""

    at: tuple[str | int, ...]
    message: str


def known_name(
    at: tuple[str | int, ...], name: str, known: Iterable[str], kind: str = ""
) -> Iterator[Problem]:
    """A problem, with near matches, where `name` is not known; else nothing."""
    names = list(known)
    if name not in names:
        yield Problem(at, str(unknown_name(kind or str(at[-1]), name, names)))
