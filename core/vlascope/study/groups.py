"""The episodes of one arm, and the episodes of others that they take something from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from vlascope.benchmark import Task
from vlascope.counterfactuals import instruction_variant
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan, PromptSwitch
from vlascope.study.schema import Arm, Prompt, SourceChoice, Study
from vlascope.study.tasks import matching

__all__ = ["SOURCE_SUFFIX", "Cell", "Reference", "WorkGroup", "instruction", "reference", "switch"]

SOURCE_SUFFIX: Final = ".source"

Cell = tuple[str, int]
"""A task and a seed: what episodes of different arms are paired by."""


@dataclass(frozen=True)
class Reference:
    """An episode that another one takes activations or instructions from."""

    arm: str
    task: str
    seed: int

    @property
    def episode(self) -> str:
        """Its name in stores."""
        return f"{self.arm}/{self.task}/{self.seed}"


@dataclass(frozen=True)
class WorkGroup:
    """All episodes of one arm.

    Attributes:
        arm: its name; `X.source` records X, `X.identity` and `X.random_direction` were made.
        role: `arm`, `control` (made automatically) or `source` (only there to be recorded).
        definition: what is done.
        plans: its episodes.
        sources: by target cell, the source task's episode, for arms that have one.
        record: activations to keep; globs may still name depth thirds.
        needs: arms whose recordings it reads.
    """

    arm: str
    role: Literal["arm", "control", "source"]
    definition: Arm
    plans: tuple[EpisodePlan, ...]
    sources: Mapping[Cell, Reference] = field(default_factory=dict)
    record: RecordSpec | None = None
    needs: tuple[str, ...] = ()


def reference(study: Study, choice: SourceChoice, cell: Cell) -> Reference:
    """The recorded episode that a cell's activations come from."""
    task, seed = cell
    if isinstance(choice.task, dict):
        source = choice.task["fixed"]
    else:
        source = task if choice.task == "same" else study.pairings[choice.task][task]
    if choice.seed == "other":
        seed = study.seeds[(study.seeds.index(seed) + 1) % len(study.seeds)]
    return Reference(f"{choice.arm}{SOURCE_SUFFIX}", source, seed)


def switch(study: Study, arm: Arm, known: Mapping[str, Task], task: str) -> PromptSwitch | None:
    """What an arm tells the policy from some step on; None where its prompt stays."""
    prompt = arm.prompt
    if not isinstance(prompt, Prompt) or prompt.task is None or prompt.from_step is None:
        return None
    told = known[study.pairings[prompt.task][task]].instruction
    return PromptSwitch(step=prompt.from_step, instruction=told)


def instruction(study: Study, arm: Arm, known: Mapping[str, Task], task: str) -> str | None:
    """What an arm tells the policy in a task; None for the task's own instruction.

    Raises:
        StudyFileError: the task has no such paraphrase or variant.
    """
    prompt = arm.prompt
    if prompt is None or isinstance(prompt, str):
        return prompt
    if prompt.from_step is not None:
        return None
    if prompt.task is not None:
        return known[study.pairings[prompt.task][task]].instruction
    if prompt.template is not None:
        return prompt.template.replace("{instruction}", known[task].instruction)
    kind, k = prompt.variant or "paraphrase", prompt.paraphrase or 1
    played = matching(study.benchmark.name, study.tasks)
    return instruction_variant(
        known[task], known.values(), kind, prompt.seed, k=k, preferred=played
    )
