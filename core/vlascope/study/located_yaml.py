"""Reading YAML so that every complaint can point at a line and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vlascope.errors import StudyFileError

__all__ = ["Located", "Location", "read_located"]

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Location:
    """A place in a file, 1-based."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass
class Located:
    """Plain data, and where each part of it was written."""

    file: str
    data: dict[str, Any]
    places: dict[Key, Location] = field(default_factory=dict)
    overridden: dict[Key, str] = field(default_factory=dict)

    def where(self, loc: Sequence[str | int]) -> str:
        """The nearest place that was written for a path such as `("arms", "baseline")`.

        Parts of the path that the data does not have (pydantic's union tags) are skipped.
        """
        path: list[str | int] = []
        for part in loc:
            if (*path, part) in self.places or (*path, part) in self.overridden:
                path.append(part)
        for end in range(len(path), 0, -1):
            if tuple(path[:end]) in self.overridden:
                return f"--set {self.overridden[tuple(path[:end])]}"
        return str(self.places.get(tuple(path), self.file))

    def override(self, assignment: str) -> None:
        """Apply one `dotted.path=value`, the value read as YAML.

        Raises:
            StudyFileError: the assignment cannot be read or passes through a plain value.
        """
        dotted, equals, text = assignment.partition("=")
        keys: Key = tuple(int(k) if k.isdigit() else k for k in dotted.split("."))
        if not equals or not dotted:
            raise StudyFileError(f"--set {assignment}: expected PATH=VALUE, such as seeds=0-4")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise StudyFileError(f"--set {assignment}: {text!r} is no YAML: {error}") from error
        holder: Any = self.data
        for depth, key in enumerate(keys[:-1]):
            if depth == 0 and self.data.get(str(key)) is None:
                self.data[str(key)] = {}
            holder = _inside(holder, key, assignment)
        _assign(holder, keys[-1], value, assignment)
        for end in range(1, len(keys) + 1):
            if end == len(keys) or keys[:end] not in self.places:
                self.overridden[keys[:end]] = assignment


def read_located(path: Path) -> Located:
    """Read a YAML file whose top level is a mapping.

    Raises:
        StudyFileError: it does not exist, is no YAML, repeats a key, or holds something else.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError(f"cannot read the file {path}: {error}") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or error
        raise StudyFileError(f"{place}: this is no YAML: {problem}") from error
    if not isinstance(data, dict) or root is None:
        raise StudyFileError(f"{path}:1:1: expected a mapping that begins with `name: ...`")
    located = Located(str(path), data)
    _note(root, (), located)
    return located


def _note(node: yaml.Node, at: Key, located: Located) -> None:
    """Remember where every key and list item begins."""
    located.places.setdefault(at, _place(located.file, node))
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            key = (*at, key_node.value)
            if key in located.places:
                raise StudyFileError(
                    f"{_place(located.file, key_node)}: {key_node.value!r} appears twice; the "
                    f"first one is at {located.places[key]}"
                )
            located.places[key] = _place(located.file, key_node)
            _note(value, key, located)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            _note(item, (*at, i), located)


def _place(file: str, node: yaml.Node) -> Location:
    return Location(file, node.start_mark.line + 1, node.start_mark.column + 1)


def _inside(holder: Any, key: str | int, assignment: str) -> Any:
    if isinstance(holder, dict) and holder.get(key) is not None:
        return holder[key]
    if isinstance(holder, list) and isinstance(key, int) and key < len(holder):
        return holder[key]
    raise StudyFileError(f"--set {assignment}: there is no {key!r} to go into")


def _assign(holder: Any, key: str | int, value: Any, assignment: str) -> None:
    match holder, key:
        case dict(), _:
            holder[key] = value
        case list(), int() if key < len(holder):
            holder[key] = value
        case _:
            raise StudyFileError(f"--set {assignment}: there is no {key!r} to set")
