"""What a TinyVLA is trained on and how: one validated file, `recipe.yaml`, and its content keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vlascope_adapters.tinyvla.config import NetworkConfig

__all__ = [
    "SHIPPED_RECIPES",
    "BenchmarkChoice",
    "DemoPlan",
    "Manner",
    "Recipe",
    "Schedule",
    "TaskPlan",
    "load_recipe",
]


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
    """The simulator, by registered name, what is read of it, and which of its seeds are practice.

    Attributes:
        camera: the one the policy looks through; its picture is `size` pixels square.
        keywords: the arguments of the benchmark class; None where they are `camera`, `size` and
            `render`.
        streams: parts of the robot's state that the policy reads, in order; empty for all.
        cycle, held_out: seeds whose remainder by `cycle` is among its last `held_out` are kept for
            evaluation, which then plays no others. A benchmark with few initial states needs that.
        max_steps: control steps after which an episode of the evaluation has failed.
    """

    name: str
    camera: str
    size: int = Field(ge=16)
    render: Literal["fast", "full"]
    keywords: dict[str, int | str] | None = None
    streams: tuple[str, ...] = ()
    cycle: int = Field(default=1, ge=1)
    held_out: int = Field(default=0, ge=0)
    max_steps: int = Field(default=150, ge=1)

    def options(self) -> dict[str, Any]:
        """The keyword arguments of the benchmark class."""
        if self.keywords is not None:
            return dict(self.keywords)
        return {"camera": self.camera, "size": self.size, "render": self.render}

    def practice_seeds(self, first: int) -> Iterator[int]:
        """Seeds from `first` on that may be trained on."""
        return (seed for seed in count(first) if seed % self.cycle < self.cycle - self.held_out)

    def unseen_seeds(self, first: int) -> Iterator[int]:
        """Seeds from `first` on that are for evaluation."""
        kept = self.cycle - self.held_out if self.held_out else 0
        return (seed for seed in count(first) if seed % self.cycle >= kept)


class DemoPlan(_Frozen):
    """How demonstrations are collected.

    Attributes:
        max_steps: a try that has not succeeded by then is thrown away.
        steps_after_success: how long the expert goes on once it succeeded.
        frame_every: a picture is kept every so many steps; actions are kept at every step.
        white_noise: standard deviation of the noise on executed actions; labels are clean (DART,
            Laskey et al. 2017, arXiv:1703.09327).
        drift_noise: standard deviation of the slowly varying noise of the drifting demonstrations.
        noisy: the share of that noise which each of the first action numbers gets; the rest, such
            as a gripper, gets none.
        hands: end effectors whose later places are predicted, by their `scene_state` names.
        landmarks: things whose place is kept beside each picture, by their `scene_state` names.
    """

    max_steps: int = 250
    steps_after_success: int = 5
    frame_every: int = Field(default=2, ge=1)
    white_noise: float = 0.3
    drift_noise: float = 0.4
    noisy: tuple[float, ...] = (1.0, 1.0, 1.0)
    hands: tuple[str, ...] = ("end_effector",)
    landmarks: tuple[str, ...] = ()


class Schedule(_Frozen):
    """How the network is fitted; counted in steps, so that it does not depend on the machine.

    Attributes:
        place_scale: what places are measured in: mean and spread of the state's first three
            numbers, which are then the hand's place, or of the hands' places themselves.
        normalise_actions: actions are learned in standard deviations from their mean, which
            absolute targets need.
    """

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
    place_scale: Literal["state", "hands"] = "state"
    normalise_actions: bool = False


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

    @model_validator(mode="after")
    def _narrates_what_it_can(self) -> Recipe:
        delta = self.network.action_dim == 4 and not self.schedule.normalise_actions
        if self.schedule.narration_weight > 0 and not delta:
            raise ValueError(
                "narration puts x, y, z and gripper into words; actions of "
                f"{self.network.action_dim} numbers have no such words: set narration_weight to 0"
            )
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
            "benchmark": self.benchmark.model_dump(mode="json", exclude_defaults=True),
            "plan": _without_new_defaults(self.demonstrations),
            "seed": self.seed,
        }
        if part.manner != Manner():
            content["manner"] = [part.manner.model_dump(mode="json"), part.target]
        return _digest(content)


SHIPPED_RECIPES = ("adverbs", "libero", "aloha")
"""Recipes that come with the package beside the default one, named like their checkpoints."""


def load_recipe(path: Path | None = None, *, bundled: str = "recipe") -> Recipe:
    """Read a recipe file; without a path, one that shipped weights were made with.

    `recipe` made the checkpoint `bundled`, the others the checkpoints of their names.

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
    content["benchmark"] = recipe.benchmark.model_dump(mode="json", exclude_defaults=True)
    content["demonstrations"] = _without_new_defaults(recipe.demonstrations)
    for added in ("narration_weight", "place_scale", "normalise_actions"):
        if content["schedule"][added] == Schedule.model_fields[added].default:
            del content["schedule"][added]
    for plan in content["tasks"].values():
        for added, unused in unsaid.items():
            if plan[added] == unused:
                del plan[added]
    return content


def _without_new_defaults(plan: DemoPlan) -> dict[str, Any]:
    """The plan as JSON, without what was added to the format since and is not used."""
    content = plan.model_dump(mode="json")
    for added in ("noisy", "hands"):
        if getattr(plan, added) == DemoPlan.model_fields[added].default:
            del content[added]
    return content


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
