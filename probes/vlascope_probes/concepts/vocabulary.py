"""The vocabulary: every concept by name, from the built-in file and those of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from vlascope.errors import FileMissing, InvalidName, unknown_name
from vlascope_probes.concepts.language import parse, parse_quantity
from vlascope_probes.concepts.predicates import Named, Predicate, TaskIs, TextHas
from vlascope_probes.concepts.scene import Setting

__all__ = ["Concept", "Vocabulary", "load_vocabulary"]

_FIELDS = {"about", "when", "measure"}


@dataclass(frozen=True)
class Concept:
    """One concept.

    Attributes:
        name: unique.
        group: what sort of concept it is.
        about: its meaning in words.
        when: the predicate.
        measure: the quantity, and of what, that an edit of it should move; None for the share of
            moments at which it holds.
        written: the predicate as it was written.
    """

    name: str
    group: str
    about: str
    when: Predicate
    measure: tuple[str, str | tuple[str, ...]] | None
    written: Any

    @property
    def of_text(self) -> bool:
        """Whether instruction and task alone decide it."""
        leaves = [p for p in self.when.every() if not p.parts()]
        return all(isinstance(leaf, TextHas | TaskIs) for leaf in leaves)


@dataclass(frozen=True)
class Vocabulary:
    """Concepts by name, and how scenes are read."""

    setting: Setting
    concepts: Mapping[str, Concept]

    def __getitem__(self, name: str) -> Concept:
        if name not in self.concepts:
            raise unknown_name("concept", name, self.concepts)
        return self.concepts[name]

    def __len__(self) -> int:
        return len(self.concepts)

    def among(self, names: Sequence[str]) -> Vocabulary:
        """Only these, which must be there; what they refer to is still known."""
        return replace(self, concepts={name: self[name] for name in names})


def load_vocabulary(*paths: str | Path, built_in: bool = True) -> Vocabulary:
    """The built-in concepts, then those of each file, which add to them or replace them by name.

    A concept set to `null` is taken away.

    Raises:
        FileMissing: a file is not there.
        InvalidName: it is no vocabulary; names the file, the concept and the word.
        UnknownName: a word of the language, or another concept, is not known.
    """
    texts = {"the built-in vocabulary": _built_in()} if built_in else {}
    for path in paths:
        if not Path(path).is_file():
            raise FileMissing(f"there is no vocabulary at {path}")
        texts[str(path)] = Path(path).read_text()
    setting, concepts = Setting(), dict[str, Concept]()
    for source, text in texts.items():
        setting = _add(text, source, setting, concepts)
    vocabulary = Vocabulary(setting, concepts)
    for name in concepts:
        _follow(vocabulary, name, ())
    return vocabulary


def _built_in() -> str:
    return files("vlascope_probes.concepts").joinpath("vocabulary.yaml").read_text()


def _add(text: str, source: str, setting: Setting, concepts: dict[str, Concept]) -> Setting:
    """Put a file's concepts among the others; the setting as it says."""
    try:
        written = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise InvalidName(f"{source} is no YAML: {error}") from error
    if not isinstance(written, Mapping) or set(written) - {"settings", "concepts"}:
        raise InvalidName(f"{source}: write `concepts: {{GROUP: {{NAME: ...}}}}` and `settings`")
    for group, members in _mapping(written.get("concepts"), f"{source}: concepts").items():
        for name, body in _mapping(members, f"{source}: {group}").items():
            if body is None:
                concepts.pop(str(name), None)
            else:
                concepts[str(name)] = _concept(str(name), str(group), body, f"{source}: {name}")
    return _settings(_mapping(written.get("settings"), f"{source}: settings"), setting, source)


def _mapping(written: object, where: str) -> Mapping[Any, Any]:
    if written is None:
        return {}
    if not isinstance(written, Mapping):
        raise InvalidName(f"{where}: names with what belongs to them are expected, got {written!r}")
    return written


def _concept(name: str, group: str, body: object, where: str) -> Concept:
    if not isinstance(body, Mapping) or "when" not in body or set(body) - _FIELDS:
        raise InvalidName(f"{where}: a concept has `when`, `about` and `measure`; got {body!r}")
    measure = body.get("measure")
    return Concept(
        name,
        group,
        str(body.get("about", name.replace("_", " "))),
        parse(body["when"], where),
        None if measure is None else parse_quantity(measure, f"{where}.measure"),
        body["when"],
    )


def _settings(written: Mapping[Any, Any], before: Setting, source: str) -> Setting:
    known = [f.name for f in fields(Setting)]
    for name in written:
        if name not in known:
            raise unknown_name(f"setting ({source})", str(name), known)
    lists = {"places", "gripper"}
    changed: dict[str, Any] = {
        k: (tuple([v] if isinstance(v, str) else v) if k in lists else str(v))
        for k, v in written.items()
    }
    setting = replace(before, **changed)
    for axis in ("right", "forward", "up"):
        setting.axis(axis)
    return setting


def _follow(vocabulary: Vocabulary, name: str, path: tuple[str, ...]) -> None:
    """Every concept that is referred to exists, and none refers to itself."""
    if name in path:
        raise InvalidName(f"concept {name!r} refers to itself: {' -> '.join((*path, name))}")
    for part in vocabulary[name].when.every():
        if isinstance(part, Named):
            _follow(vocabulary, part.name, (*path, name))
