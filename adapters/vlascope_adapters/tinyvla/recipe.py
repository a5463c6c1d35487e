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

__all__ = ["BenchmarkChoice", "DemoPlan", "Recipe", "Schedule", "TaskPlan", "load_recipe"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    """

    demos: int = Field(ge=1)
    first_seed: int = Field(default=0, ge=0)
    weight: float = Field(default=1.0, gt=0)
    prompts: tuple[str, ...] = Field(min_length=1)
    scene_decides: bool = False


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
    workers: int = Field(default=2, ge=1)


class Recipe(_Frozen):
    """Everything that decides the weights, apart from the versions of the libraries."""

    seed: int = 0
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
        return _digest(self.model_dump(mode="json"))

    def demo_key(self, task: str) -> str:
        """Sixteen hex digits of what decides the demonstrations of one task, and nothing else."""
        content = {
            "task": task,
            "demos": self.tasks[task].demos,
            "first_seed": self.tasks[task].first_seed,
            "benchmark": self.benchmark.model_dump(mode="json"),
            "plan": self.demonstrations.model_dump(mode="json"),
            "seed": self.seed,
        }
        return _digest(content)


def load_recipe(path: Path | None = None) -> Recipe:
    """Read a recipe file; without a path, the one that the bundled weights were made with.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    text = (
        (files("vlascope_adapters.tinyvla") / "recipe.yaml").read_text()
        if path is None
        else path.read_text()
    )
    return Recipe.model_validate(yaml.safe_load(text))


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
