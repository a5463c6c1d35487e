"""What a policy of the zoo is trained on and how: `recipes/NAME.yaml` and `demonstrations.yaml`."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from vlascope.errors import unknown_name
from vlascope_adapters.tinyvla.recipe import BenchmarkChoice, DemoPlan, TaskPlan
from vlascope_adapters.tinyvla.recipe import Recipe as Collection

__all__ = ["Lessons", "Recipe", "Schedule", "lessons", "load_recipe", "recipe_names"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(_Frozen):
    """How the network is fitted; counted in steps, so that it does not depend on the machine.

    Attributes:
        weight_decay: of matrices; vectors (biases, norms) have none.
        ema: share of the moving average of the weights that one step keeps; it is what is saved.
        autocast: the type that matrix products are computed in.
        empty_instruction: share of rows told nothing, where the scene tells what to do.
        contrast, brightness: width of the uniform draws that pictures are changed by (a factor
            around 1, and 8-bit levels).
        state_noise: standard deviations of noise on the robot's state.
        state_dropout: share of rows whose state is the demonstrations' mean, so that a policy
            looks at its picture.
    """

    steps: int = Field(ge=1)
    batch: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=100, ge=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.995, ge=0, lt=1)
    autocast: Literal["float32", "bfloat16"] = "float32"
    empty_instruction: float = Field(default=0.15, ge=0, le=1)
    contrast: float = Field(default=0.15, ge=0)
    brightness: float = Field(default=12.0, ge=0)
    state_noise: float = Field(default=0.03, ge=0)
    state_dropout: float = Field(default=0.1, ge=0, le=1)


class Recipe(_Frozen):
    """Everything that decides the weights, apart from the versions of the libraries.

    Attributes:
        architecture: import string of an `Architecture`, `"package.module:ClassName"`.
        adapter: the registered adapter that loads what it saves.
        summary: one line for listings.
        demos: how many demonstrations of each task are learned from, the first of each file;
            None for all.
        horizon: actions per chunk; `executed` of them are carried out before the next look.
        sizes: the architecture's own, by the names that it documents.
    """

    architecture: str
    adapter: str
    summary: str = ""
    seed: int = 0
    demos: int | None = Field(default=None, ge=1)
    horizon: int = Field(default=8, ge=1)
    executed: int = Field(default=6, ge=1)
    sizes: dict[str, Any] = {}
    schedule: Schedule

    @property
    def key(self) -> str:
        """Sixteen hex digits that change whenever anything does that decides the weights."""
        own = self.model_dump(mode="json", exclude={"summary"}, exclude_defaults=True)
        content = [own, lessons().key]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class Lessons(_Frozen):
    """The demonstrations that all policies learn from."""

    seed: int
    benchmark: BenchmarkChoice
    plan: DemoPlan
    tasks: dict[str, TaskPlan]

    def collection(self) -> Collection:
        """The same as the recipe that demonstrations are collected by."""
        return Collection.model_validate(
            {
                "seed": self.seed,
                "benchmark": self.benchmark,
                "demonstrations": self.plan,
                "tasks": self.tasks,
                # Neither decides a demonstration.
                "network": {"crop": {"row": 0, "column": 0, "size": self.benchmark.size}},
                "schedule": {"steps": 1},
            }
        )

    @property
    def key(self) -> str:
        """Sixteen hex digits of what decides the demonstrations and what is said of them."""
        content = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def prompts(self) -> tuple[str, ...]:
        """Every instruction of every task, each once."""
        return tuple(dict.fromkeys(text for plan in self.tasks.values() for text in plan.prompts))


@cache
def lessons() -> Lessons:
    """What `demonstrations.yaml` says."""
    text = (files("vlascope_zoo") / "demonstrations.yaml").read_text()
    return Lessons.model_validate(yaml.safe_load(text))


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with the zoo, in alphabetical order."""
    folder = files("vlascope_zoo") / "recipes"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def load_recipe(name: str) -> Recipe:
    """A recipe of the zoo by name, or any recipe file by path.

    A file may say `like: NAME` and only what differs from that recipe of the zoo.

    Raises:
        UnknownName: no recipe goes by that name.
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    return Recipe.model_validate(_content(name))


def _content(name: str) -> dict[str, Any]:
    if name.endswith((".yaml", ".yml")):
        text = Path(name).read_text()
    elif name in recipe_names():
        text = (files("vlascope_zoo") / "recipes" / f"{name}.yaml").read_text()
    else:
        raise unknown_name("recipe of the zoo", name, recipe_names())
    content = yaml.safe_load(text)
    if "like" in content:
        return {**_content(content.pop("like")), **content}
    return content
