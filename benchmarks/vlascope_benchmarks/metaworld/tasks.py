"""The tasks of the MetaWorld benchmark: names, instructions, scenes and suites; no simulator."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from vlascope.benchmark import Task

__all__ = ["DIFFICULTIES", "MULTI_GOAL_SCENE", "suites"]

MULTI_GOAL_SCENE = "multi"

DIFFICULTIES = ("easy", "medium", "hard", "very_hard")
"""The split of Seo et al., "Masked World Models for Visual Control" (2022)."""


@cache
def suites() -> Mapping[str, tuple[Task, ...]]:
    """Every suite by name; a task may be in several, as the very same object.

    `all` holds the fifty single-instruction tasks; `easy` to `very_hard` split them by difficulty
    and `shared_scene` / `unique_scene` by whether another task is played on the same model;
    `multi_goal` holds the eight instructions of the one scene in which only the instruction tells
    what to do.
    """
    table = tomllib.loads(files(__package__).joinpath("tasks.toml").read_text("utf-8"))
    stock = tuple(_task(name, row) for name, row in table["stock"].items())
    in_scene = Counter(task.scene for task in stock)
    return {
        "all": stock,
        **{level: tuple(t for t in stock if level in t.tags) for level in DIFFICULTIES},
        "shared_scene": tuple(t for t in stock if in_scene[t.scene] > 1),
        "unique_scene": tuple(t for t in stock if in_scene[t.scene] == 1),
        "multi_goal": tuple(_multi_task(name, row) for name, row in table["multi"].items()),
    }


def _task(name: str, row: Mapping[str, Any]) -> Task:
    instruction, *paraphrases = row["say"]
    scene, tags = row["scene"], (row["difficulty"],)
    return Task(name, instruction, tuple(paraphrases), scene, tags, **_structure(row))


def _multi_task(name: str, row: Mapping[str, Any]) -> Task:
    instruction, *paraphrases = row["say"]
    full_name = f"{MULTI_GOAL_SCENE}/{name}"
    own = _structure(row)
    return Task(full_name, instruction, tuple(paraphrases), MULTI_GOAL_SCENE, (), **own)


def _structure(row: Mapping[str, Any]) -> dict[str, str]:
    """What counterfactual instructions are made from."""
    return {key: row.get(key, "") for key in ("verb", "object", "motor", "opposite")}
