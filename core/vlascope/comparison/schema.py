"""What a comparison file may say: one battery of questions, put to many policies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from vlascope.study.choices import (
    BenchmarkChoice,
    ExecutorChoice,
    PolicyChoice,
    Strict,
    one_or_many,
)
from vlascope.study.schema import Name, ReportOptions, Stop
from vlascope.study.seeds import Seeds

__all__ = ["Battery", "ComparisonFile", "Defaults", "Entry", "Question"]

Question = dict[str, Any]
"""A recipe, `{kind: ...}`, with the options that hold for every policy."""

Battery = dict[Name, Question]


class Defaults(Strict):
    """A study without policies and questions: what every entry plays unless it says otherwise.

    Attributes:
        benchmark, tasks, seeds, max_steps, batch, workers, envs_per_worker, executor, groups,
        stop, report: as in a study file.
    """

    benchmark: BenchmarkChoice | None = None
    tasks: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    seeds: Seeds | None = None
    max_steps: Annotated[int, Field(ge=1)] | None = None
    batch: Literal["batched", "exact"] | None = None
    workers: Annotated[int, Field(ge=1)] | None = None
    envs_per_worker: Annotated[int, Field(ge=1)] | None = None
    executor: ExecutorChoice | None = None
    groups: dict[Name, tuple[str, ...]] | None = None
    stop: Annotated[tuple[Stop, ...], BeforeValidator(one_or_many)] | None = None
    report: ReportOptions | None = None

    def given(self) -> dict[str, Any]:
        """What was written down, by field of a study."""
        written = {name: getattr(self, name) for name in Defaults.model_fields}
        return {name: value for name, value in written.items() if value is not None}


class Entry(Defaults):
    """A policy on a benchmark: one column of the comparison.

    Attributes:
        policy: as in a study file, or short: `ADAPTER:CHECKPOINT`, or the name of a registered
            checkpoint.
        family: entries of one family are seeds of one architecture and count once where
            architectures are pooled; by default the entry is a family of its own.
        pooled: whether it counts where architectures are pooled; not for a policy made to differ,
            such as one that learned from little data.
        title: what the report calls it; by default its name.
        battery: options of its own by question; null leaves the question out.
    """

    policy: PolicyChoice
    family: Name | None = None
    pooled: bool = True
    title: str = ""
    battery: dict[Name, Question | None] = Field(default_factory=dict)


class ComparisonFile(Strict):
    """One battery for many entries.

    Attributes:
        name: a short name.
        title, about: what the report is headed with.
        defaults: what entries play unless they say otherwise.
        battery: questions by name, in the report's order, free of any architecture's names.
        entries: by a name of your own, in the report's order.
        contrasts: pairs of entries by name, whose difference (first minus second) a claim is about:
            `many_minus_few: [trained_on_many, trained_on_few]`.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    title: str = ""
    about: str = ""
    defaults: Defaults = Defaults()
    battery: Annotated[Battery, Field(min_length=1)]
    entries: Annotated[dict[Name, Entry], Field(min_length=1)]
    contrasts: dict[Name, tuple[str, str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _something_to_play(self) -> ComparisonFile:
        for name, entry in self.entries.items():
            given = {*self.defaults.given(), *entry.given()}
            for needed in ("benchmark", "tasks", "seeds"):
                if needed not in given:
                    raise ValueError(
                        f"entry {name!r} has no `{needed}`: give it one, or `defaults` for all"
                    )
        return self

    def family(self, entry: str) -> str:
        """The family of an entry."""
        return self.entries[entry].family or entry
