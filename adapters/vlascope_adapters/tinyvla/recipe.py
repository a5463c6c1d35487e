"""What a TinyVLA is trained on and how: one validated file, `recipe.yaml`, and its content keys."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vlascope_adapters.tinyvla.config import NetworkConfig

__all__ = ["BenchmarkChoice", "DemoPlan", "Manner", "Recipe", "Schedule", "TaskPlan", "load_recipe"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Manner(_Frozen):
    """How a task is played, and the adverbs that ask for it.

    Attributes:
        adverbs: words that are said before or after the prompt; empty for the manner that is
            played when nothing is said.
        speed: factor on the expert's clipped x, y, z action.
        height: metres at which the hand travels until it is `near` its target, measured
            horizontally in metres; None for the expert's own height.
    """

    adverbs: tuple[str, ...] = ()
    speed: float = Field(default=1.0, gt=0, le=1)
    height: float | None = None
    near: float = Field(default=0.1, gt=0)


class TaskPlan(_Frozen):
    """One task to learn.

    Attributes:
        demos: scripted demonstrations to collect.
        first_seed: seed of the first try; the next tries count up from it. Tasks that share a
            scene start apart, because one seed gives them one scene, and a policy that saw few
            scenes learns them by heart.
        weight: how often it is drawn, relative to the other tasks.
        prompts: what it may be called in training; the first is the benchmark's own instruction.
        scene_decides: the first picture alone tells what to do, so that an empty instruction is
            a fair training example. Never set where another task starts from the same picture.
        plays: the benchmark's name of the task; None where it is the recipe's own name.
        manner: how it is played; `target` names what a travelling height ends at, in
            `scene_state`. `manners` limits the recipe's manners to some; empty means all.
    """

    demos: int = Field(ge=1)
    first_seed: int = Field(default=0, ge=0)
    weight: float = Field(default=1.0, gt=0)
    prompts: tuple[str, ...] = Field(min_length=1)
    scene_decides: bool = False
    plays: str | None = None
    manner: Manner = Manner()
    target: str = "object"
    manners: tuple[str, ...] = ()


class BenchmarkChoice(_Frozen):
    """The simulator, by registered name, and the options that it is created with."""

    name: str
    camera: str
    size: int = Field(ge=16)
    render: Literal["fast", "full"]

    def options(self) -> dict[str, Any]:
        """The keyword arguments of the benchmark class."""
        return {"camera": self.camera, "size": self.size, "render": self.render}


class DemoPlan(_Frozen):
    """How demonstrations are collected.

    Attributes:
        max_steps: a try that has not succeeded by then is thrown away.
        steps_after_success: how long the expert goes on once it succeeded.
        frame_every: a picture is kept every so many steps; actions are kept at every step.
        white_noise: standard deviation of the noise on executed x, y, z actions; labels are clean
            (DART, Laskey et al. 2017, arXiv:1703.09327).
        drift_noise: standard deviation of the slowly varying noise of the drifting demonstrations.
        landmarks: things whose place is kept beside each picture, by their `scene_state` names.
    """

    max_steps: int = 250
    steps_after_success: int = 5
    frame_every: int = Field(default=2, ge=1)
    white_noise: float = 0.3
    drift_noise: float = 0.4
    landmarks: tuple[str, ...] = ()


class Schedule(_Frozen):
    """How the network is fitted; counted in steps, so that it does not depend on the machine."""

    steps: int = Field(ge=1)
    batch: int = Field(default=128, ge=1)
    learning_rate: float = 1.2e-3
    warmup: int = 200
    weight_decay: float = 0.02
    ema: float = 0.999
    flow_samples: int = Field(default=2, ge=1)
    shift: int = Field(default=0, ge=0)
    empty_instruction: float = 0.15
    word_dropout: float = 0.15
    state_dropout: float = 0.1
    hindsight_weight: float = 0.5
    landmark_weight: float = 1.0
    word_weight: float = 0.03
    narration_weight: float = 0.0
    workers: int = Field(default=2, ge=1)


class Recipe(_Frozen):
    """Everything that decides the weights, apart from the versions of the libraries.

    Attributes:
        start: weights to go on from, `bundled` or a folder; None starts from random ones.
        manners: if given, every task is learned in each of them, as `TASK MANNER`, from scenes
            of its own.
    """

    seed: int = 0
    start: str | None = None
    manners: dict[str, Manner] = {}
    benchmark: BenchmarkChoice
    network: NetworkConfig
    demonstrations: DemoPlan
    schedule: Schedule
    tasks: dict[str, TaskPlan] = Field(min_length=1)

    @model_validator(mode="after")
    def _crop_fits(self) -> Recipe:
        crop, shift, size = self.network.crop, self.schedule.shift, self.benchmark.size
        for start in (crop.row, crop.column):
            if start < shift or start + crop.size + shift > size:
                raise ValueError(f"crop {crop} moved by {shift} px leaves the {size} px picture")
        return self

    @property
    def key(self) -> str:
        """Sixteen hex digits that change whenever anything in the recipe does."""
        return _digest(_without_defaults(self))

    @property
    def parts(self) -> dict[str, TaskPlan]:
        """What is collected and drawn from: every task, or every task in every manner."""
        if not self.manners:
            return self.tasks
        return {
            f"{task} {name}": _in_manner(task, plan, manner, place)
            for task, plan in self.tasks.items()
            for place, (name, manner) in enumerate(self.manners.items())
            if not plan.manners or name in plan.manners
        }

    def demo_key(self, task: str) -> str:
        """Sixteen hex digits of what decides the demonstrations of one task, and nothing else."""
        part = self.parts[task]
        content = {
            "task": task,
            "demos": part.demos,
            "first_seed": part.first_seed,
            "benchmark": self.benchmark.model_dump(mode="json"),
            "plan": self.demonstrations.model_dump(mode="json"),
            "seed": self.seed,
        }
        if part.manner != Manner():
            content["manner"] = [part.manner.model_dump(mode="json"), part.target]
        return _digest(content)


def load_recipe(path: Path | None = None, *, bundled: str = "recipe") -> Recipe:
    """Read a recipe file; without a path, one that shipped weights were made with.

    `recipe` made the checkpoint `bundled`, `adverbs` the checkpoint of that name.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    text = (
        (files("vlascope_adapters.tinyvla") / f"{bundled}.yaml").read_text()
        if path is None
        else path.read_text()
    )
    return Recipe.model_validate(yaml.safe_load(text))


def _in_manner(task: str, plan: TaskPlan, manner: Manner, place: int) -> TaskPlan:
    """A task as it is played and asked for in one manner, from seeds of its own."""
    spoken = [f"{adverb} {text}" for adverb in manner.adverbs for text in plan.prompts]
    spoken += [f"{text} {adverb}" for adverb in manner.adverbs for text in plan.prompts]
    changed = {
        "prompts": tuple(spoken) or plan.prompts,
        "first_seed": plan.first_seed + 2000 * place,
        "plays": plan.plays or task,
        "manner": manner,
    }
    return plan.model_copy(update=changed)


def _without_defaults(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON, without what was added to the format since and is not used."""
    content = recipe.model_dump(mode="json")
    unsaid: dict[str, object] = {
        "plays": None,
        "manner": Manner().model_dump(mode="json"),
        "target": "object",
        "manners": [],
    }
    for added in ("start", "manners"):
        if not content[added]:
            del content[added]
    if not content["schedule"]["narration_weight"]:
        del content["schedule"]["narration_weight"]
    for plan in content["tasks"].values():
        for added, unused in unsaid.items():
            if plan[added] == unused:
                del plan[added]
    return content


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
