"""Recipes: a question that comes up again and again, written out as arms, analyses and findings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from vlascope.sections import Section
from vlascope.study.schema import Arm, Finding

if TYPE_CHECKING:
    from vlascope.benchmark import Task
    from vlascope.hooks import Pathway
    from vlascope.study.analysis import AnalysisResult
    from vlascope.study.measuring import Measuring
    from vlascope.study.quantity import Quantity

__all__ = ["Parts", "Reading", "Recipe", "Scope"]


@dataclass(frozen=True)
class Scope:
    """The study a recipe is written into.

    Attributes:
        benchmark: its registered name.
        tasks: the study's tasks, in order.
        known: every task of the benchmark by name.
        seeds: the study's seeds.
        max_steps: environment steps per episode; None for the benchmark's limit.
        baseline: the plain arm that everything is set against.
        options: what the benchmark is built with.
    """

    benchmark: str
    tasks: tuple[Task, ...]
    known: Mapping[str, Task]
    seeds: tuple[int, ...]
    max_steps: int | None
    baseline: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """What a recipe adds to a study; every name begins with the recipe's own name and `_`.

    Attributes:
        arms: in the order they run. Arms of several recipes that say the same are played once.
        pairings, groups, findings: as in a study file.
        analyses: `{kind: ..., ...}` by name.
    """

    arms: Mapping[str, Arm] = field(default_factory=dict)
    pairings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    findings: Mapping[str, Finding] = field(default_factory=dict)
    analyses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """A finished study, as a recipe's section reads it.

    Attributes:
        name: the recipe's name in the study.
        policy: the study's name of the policy.
        measuring: metrics by arm and cell, episodes, and the design.
        analyses: results by name; those that failed are missing.
    """

    name: str
    policy: str
    measuring: Measuring
    analyses: Mapping[str, AnalysisResult]


class Recipe(BaseModel, ABC):
    """A question with its options as fields; subclasses set `kind` and `title`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    title: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _without_kind(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if k != "kind"} if isinstance(data, dict) else data

    @classmethod
    def suggested(cls, pathways: Sequence[Pathway]) -> dict[str, Any]:
        """Options to begin with for a policy of these pathways, for `vlascope study new`."""
        return {}

    @classmethod
    def suggested_for_uneven_prompts(cls) -> dict[str, Any]:
        """Options to begin with where a policy's token counts depend on what it is told."""
        return {}

    @abstractmethod
    def parts(self, name: str, scope: Scope) -> Parts:
        """The arms, analyses and findings that answer the question in this study.

        Raises:
            StudyFileError: the options do not fit the study; says which and why.
        """

    @abstractmethod
    def section(self, reading: Reading) -> Section:
        """The report's chapter; what was not played is said to be missing."""

    def quantities(self, reading: Reading) -> tuple[Quantity, ...]:
        """The numbers of the chapter that policies of other architectures can be compared by."""
        return ()
