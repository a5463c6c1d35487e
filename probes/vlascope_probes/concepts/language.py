"""The small language that concepts are written in: YAML in, a tree of predicates out; no code runs.

| written | true at a moment where |
|---|---|
| `all: [...]`, `any: [...]`, `not: ...` | as they say |
| `text_has: [open, pick up]` | the instruction has one of these words, or words in a row |
| `task: ["multi/*"]` | the task's name matches |
| `speed: {above: 0.01}` | the quantity is `above`, `below` or between; `"75%"` is a quantile |
| `distance: {of: asked, below: 0.1}` | the same of `things`, `places`, what is `asked`, or globs |
| `holds: [drawer_open]` | one of these conditions of the scene holds (globs) |
| `soon: {that: ..., within: 10}` | it will hold within so many steps, or does now |
| `since: {that: ..., within: 10}` | it held within so many steps (ever, without `within`) |
| `concept: NAME` | another concept holds |

What an episode does not offer (no objects, no gripper) makes the whole concept not applicable
there: neither true nor false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from vlascope.errors import InvalidName, unknown_name
from vlascope_probes.concepts.objects import OBJECT_QUANTITIES
from vlascope_probes.concepts.predicates import (
    Bounded,
    Every,
    Holds,
    Named,
    Not,
    Predicate,
    Quantile,
    Since,
    Some,
    Soon,
    TaskIs,
    TextHas,
)
from vlascope_probes.concepts.quantities import QUANTITIES

__all__ = ["parse", "parse_quantity"]


def parse(written: object, where: str) -> Predicate:
    """The predicate that was written; `where` names it in errors.

    Raises:
        InvalidName: it is no predicate; says what was found and what can be written.
        UnknownName: it begins with a word that is none of the language.
    """
    if not isinstance(written, Mapping) or len(written) != 1:
        raise InvalidName(
            f"{where}: a predicate is one word and what belongs to it, like `text_has: [open]` or "
            f"`speed: {{above: 0.01}}`; got {written!r}"
        )
    ((word, rest),) = written.items()
    if word in _WORDS:
        return _WORDS[word](rest, f"{where}.{word}")
    if word in QUANTITIES or word in OBJECT_QUANTITIES:
        return _bounded(str(word), rest, f"{where}.{word}")
    raise unknown_name(f"predicate ({where})", str(word), _vocabulary())


def parse_quantity(written: object, where: str) -> tuple[str, str | tuple[str, ...]]:
    """A quantity on its own, `speed` or `{distance: {of: asked}}`: its name, and of what."""
    name: object = written
    rest: object = None
    if isinstance(written, Mapping) and len(written) == 1:
        ((name, rest),) = written.items()
    if name not in QUANTITIES and name not in OBJECT_QUANTITIES:
        raise unknown_name(f"quantity ({where})", str(name), [*QUANTITIES, *OBJECT_QUANTITIES])
    return str(name), _of(str(name), rest, where)


def _vocabulary() -> list[str]:
    return [*_WORDS, *QUANTITIES, *OBJECT_QUANTITIES]


def _tests(written: object, where: str) -> tuple[Predicate, ...]:
    if not isinstance(written, Sequence) or isinstance(written, str) or not written:
        raise InvalidName(f"{where}: a list of predicates is expected, got {written!r}")
    return tuple(parse(part, f"{where}[{i}]") for i, part in enumerate(written))


def _texts(written: object, where: str) -> tuple[str, ...]:
    found = [written] if isinstance(written, str) else written
    if not isinstance(found, Sequence) or not found or not all(isinstance(w, str) for w in found):
        raise InvalidName(f"{where}: a text or a list of texts is expected, got {written!r}")
    return tuple(found)


def _phrases(written: object, where: str) -> Predicate:
    phrases = (" ".join(re.findall(r"[a-z0-9]+", w.lower())) for w in _texts(written, where))
    return TextHas(tuple(phrases))


def _bounded(name: str, written: object, where: str) -> Predicate:
    if not isinstance(written, Mapping) or not {"above", "below"} & set(written):
        raise InvalidName(
            f'{where}: write {{above: NUMBER}} or {{below: NUMBER}}, a number or "75%", or both; '
            f"got {written!r}"
        )
    above, below = (_number(written.get(side), f"{where}.{side}") for side in ("above", "below"))
    return Bounded(name, _of(name, written, where), above, below)


def _of(name: str, written: object, where: str) -> str | tuple[str, ...]:
    given = written if isinstance(written, Mapping) else {}
    allowed = {"above", "below"} | ({"of"} if name in OBJECT_QUANTITIES else set())
    if extra := set(given) - allowed:
        raise InvalidName(f"{where}: {name} takes {sorted(allowed)}, not {sorted(extra)}")
    of = given.get("of", "things")
    return of if isinstance(of, str) else _texts(of, f"{where}.of")


def _number(written: object, where: str) -> float | Quantile | None:
    if written is None:
        return None
    if isinstance(written, int | float) and not isinstance(written, bool):
        return float(written)
    if isinstance(written, str) and re.fullmatch(r"\d+(\.\d+)?%", written):
        share = float(written[:-1]) / 100
        if 0 < share < 1:
            return Quantile(share)
    raise InvalidName(f'{where}: a number or a quantile like "75%" is expected, got {written!r}')


def _timed(written: object, where: str, *, needed: bool) -> tuple[Predicate, int | None]:
    if (
        not isinstance(written, Mapping)
        or "that" not in written
        or set(written)
        - {
            "that",
            "within",
        }
    ):
        raise InvalidName(f"{where}: write {{that: PREDICATE, within: STEPS}}; got {written!r}")
    steps = written.get("within")
    if (steps is None and needed) or not (steps is None or (type(steps) is int and steps > 0)):
        raise InvalidName(f"{where}.within: a whole number of steps is expected, got {steps!r}")
    return parse(written["that"], f"{where}.that"), steps


def _soon(written: object, where: str) -> Predicate:
    test, steps = _timed(written, where, needed=True)
    assert steps is not None  # needed
    return Soon(test, steps)


def _named(written: object, where: str) -> Predicate:
    if not isinstance(written, str):
        raise InvalidName(f"{where}: the name of a concept is expected, got {written!r}")
    return Named(written)


_WORDS: Final[Mapping[Any, Callable[[object, str], Predicate]]] = {
    "all": lambda written, where: Every(_tests(written, where)),
    "any": lambda written, where: Some(_tests(written, where)),
    "not": lambda written, where: Not(parse(written, where)),
    "text_has": _phrases,
    "task": lambda written, where: TaskIs(_texts(written, where)),
    "holds": lambda written, where: Holds(_texts(written, where)),
    "soon": _soon,
    "since": lambda written, where: Since(*_timed(written, where, needed=False)),
    "concept": _named,
}
