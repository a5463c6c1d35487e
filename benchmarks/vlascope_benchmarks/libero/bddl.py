"""Reading LIBERO's task files (BDDL, nested lists in parentheses) without its simulator."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Goal", "Problem", "read_problem"]

Goal = tuple[tuple[str, ...], ...]
"""Conditions that must hold together: `(("on", "bowl_1", "plate_1"), ("open", "drawer"))`."""


@dataclass(frozen=True)
class Problem:
    """What a task file says.

    Attributes:
        kind: the arena (`"libero_tabletop_manipulation"`).
        language: the instruction as the file words it.
        things: `name:category` of every object and fixture, sorted.
        initial: where things are when an episode begins: facts, and the ranges of the regions
            they name.
        goal: what must hold in the end.
        interest: the things that the task is about, in the file's order.
    """

    kind: str
    language: str
    things: tuple[str, ...]
    initial: tuple[str, ...]
    goal: Goal
    interest: tuple[str, ...]


def read_problem(path: Path) -> Problem:
    """Parse one file."""
    sections = _nested(path.read_text("utf-8"))[1:]
    by_name = {section[0].lower(): section[1:] for section in sections}
    regions = dict(_regions(by_name.get(":regions", ())))
    facts = [tuple(_lower(fact)) for fact in by_name[":init"]]
    return Problem(
        kind=by_name["problem"][0].lower(),
        language=" ".join(by_name[":language"]),
        things=tuple(sorted([*_typed(by_name[":fixtures"]), *_typed(by_name[":objects"])])),
        initial=tuple(sorted(" ".join((*f, *(regions.get(n, "") for n in f[1:]))) for f in facts)),
        goal=tuple(tuple(_lower(condition)) for condition in by_name[":goal"][0][1:]),
        interest=tuple(by_name.get(":obj_of_interest", ())),
    )


def _nested(text: str) -> list[Any]:
    """The file's only expression as lists of lists of words."""
    stack: list[list[Any]] = [[]]
    for token in re.findall(r"[()]|[^\s()]+", re.sub(r";.*", "", text)):
        if token == "(":
            stack.append([])
        elif token == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    found: list[Any] = stack[0][0]
    return found


def _lower(words: Sequence[str]) -> list[str]:
    return [words[0].lower(), *words[1:]]


def _typed(words: Sequence[str]) -> Iterator[str]:
    """`a b - bowl` as `a:bowl`, `b:bowl`."""
    waiting: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "-":
            kind = next(rest)
            yield from (f"{name}:{kind}" for name in waiting)
            waiting = []
        else:
            waiting.append(word)


def _regions(sections: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Full region name, and its ranges and turn as one text."""
    for name, *attributes in sections:
        said = {attribute[0]: attribute[1:] for attribute in attributes}
        where = " ".join(f"{float(x):.4f}" for x in _flat(said.get(":ranges", ())))
        turn = " ".join(map(str, _flat(said.get(":yaw_rotation", ()))))
        yield f"{said[':target'][0]}_{name}", f"{where} {turn}"


def _flat(nested: Any) -> Iterator[str]:
    for item in nested:
        if isinstance(item, str):
            yield item
        else:
            yield from _flat(item)
