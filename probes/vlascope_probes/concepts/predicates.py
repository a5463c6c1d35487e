"""Predicates over the moments of an episode: what concepts are made of."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import override

import numpy as np
import numpy.typing as npt

from vlascope_probes.concepts.objects import quantity
from vlascope_probes.concepts.scene import Episode, Setting

__all__ = [
    "Bounded",
    "Every",
    "Holds",
    "Named",
    "Not",
    "Predicate",
    "Quantile",
    "Since",
    "Some",
    "Soon",
    "TaskIs",
    "TextHas",
    "Within",
]

Truth = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Quantile:
    """A bound that depends on the run: the share of its moments that lie below."""

    share: float


@dataclass(frozen=True)
class Within:
    """What tests are read against.

    Attributes:
        setting: how scenes are read.
        bound: the number behind a quantile of (quantity, of); NaN where no episode offers it.
        concept: the test of another concept.
    """

    setting: Setting
    bound: Callable[[str, str | tuple[str, ...], Quantile], float]
    concept: Callable[[str], Predicate]


class Predicate(ABC):
    """A predicate over one episode's moments."""

    @abstractmethod
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        """Bool (moments,); None where the episode does not offer what is asked."""

    def parts(self) -> tuple[Predicate, ...]:
        """The tests this one is made of."""
        return ()

    def every(self) -> Iterator[Predicate]:
        """This test and all below it."""
        yield self
        for part in self.parts():
            yield from part.every()


@dataclass(frozen=True)
class Every(Predicate):
    """All of them."""

    tests: tuple[Predicate, ...]

    @override
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        found = _all_given(self.tests, episode, within)
        return None if found is None else np.logical_and.reduce(found)

    @override
    def parts(self) -> tuple[Predicate, ...]:
        return self.tests


@dataclass(frozen=True)
class Some(Predicate):
    """At least one of them."""

    tests: tuple[Predicate, ...]

    @override
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        found = _all_given(self.tests, episode, within)
        return None if found is None else np.logical_or.reduce(found)

    @override
    def parts(self) -> tuple[Predicate, ...]:
        return self.tests


@dataclass(frozen=True)
class Not(Predicate):
    """The opposite."""

    test: Predicate

    @override
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        found = self.test.holds(episode, within)
        return None if found is None else ~found

    @override
    def parts(self) -> tuple[Predicate, ...]:
        return (self.test,)


@dataclass(frozen=True)
class TextHas(Predicate):
    """One of these words, or words in a row, is in the instruction."""

    phrases: tuple[str, ...]

    @override
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        text = " ".join(re.findall(r"[a-z0-9]+", episode.text.lower()))
        found = any(f" {phrase} " in f" {text} " for phrase in self.phrases)
        return np.full(episode.moments, found)


@dataclass(frozen=True)
class TaskIs(Predicate):
    """The task's name matches one of these globs."""

    globs: tuple[str, ...]

    @override
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        return np.full(episode.moments, any(fnmatchcase(episode.task, g) for g in self.globs))


@dataclass(frozen=True)
class Holds(Predicate):
    """One of these conditions of the scene holds."""

    globs: tuple[str, ...]

    @override
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        named = [v for n, v in episode.holds.items() if any(fnmatchcase(n, g) for g in self.globs)]
        return np.logical_or.reduce(named) if named else None


@dataclass(frozen=True)
class Bounded(Predicate):
    """A quantity lies between two bounds."""

    name: str
    of: str | tuple[str, ...]
    above: float | Quantile | None
    below: float | Quantile | None

    @override
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        found = quantity(self.name, episode, within.setting, self.of)
        if found is None:
            return None
        truth = ~np.isnan(found)
        if self.above is not None:
            truth &= found > self._number(self.above, within)
        if self.below is not None:
            truth &= found < self._number(self.below, within)
        return truth

    def _number(self, bound: float | Quantile, within: Within) -> float:
        if isinstance(bound, Quantile):
            return within.bound(self.name, self.of, bound)
        return bound


@dataclass(frozen=True)
class Soon(Predicate):
    """It will hold within so many steps, or does now."""

    test: Predicate
    steps: int

    @override
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        found = self.test.holds(episode, within)
        return None if found is None else _spread(found[::-1], self.steps)[::-1]

    @override
    def parts(self) -> tuple[Predicate, ...]:
        return (self.test,)


@dataclass(frozen=True)
class Since(Predicate):
    """It held within so many steps, or does now; without a limit: ever before."""

    test: Predicate
    steps: int | None

    @override
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        found = self.test.holds(episode, within)
        return None if found is None else _spread(found, self.steps)

    @override
    def parts(self) -> tuple[Predicate, ...]:
        return (self.test,)


@dataclass(frozen=True)
class Named(Predicate):
    """Another concept holds."""

    name: str

    @override
    def holds(self, episode: Episode, within: Within) -> Truth | None:
        return within.concept(self.name).holds(episode, within)


def _all_given(tests: Sequence[Predicate], episode: Episode, within: Within) -> list[Truth] | None:
    found = [test.holds(episode, within) for test in tests]
    return None if any(f is None for f in found) else [f for f in found if f is not None]


def _spread(truth: Truth, steps: int | None) -> Truth:
    """True for `steps` moments after each true one."""
    if steps is None:
        return np.logical_or.accumulate(truth)
    at = np.where(truth, np.arange(len(truth)), -np.inf)
    return np.arange(len(truth)) - np.maximum.accumulate(at) <= steps
