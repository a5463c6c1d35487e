"""The tasks of LIBERO and LIBERO-PRO: names, instructions, scenes, goals; no simulator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from vlascope.benchmark import Task
from vlascope_benchmarks.libero.bddl import Goal

__all__ = ["BASE_SUITES", "MAX_STEPS", "PRO_VARIANTS", "Place", "goals_of_scene", "place", "suites"]

BASE_SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")

PRO_VARIANTS: Mapping[str, str] = {
    "language": "lan",
    "object": "object",
    "swap": "swap",
    "task": "task",
}
"""LIBERO-PRO's variants of the first four suites, and what its folders call them."""

MAX_STEPS: Mapping[str, int] = {
    "libero_spatial": 280,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""Steps of an episode by suite, after the ten in which things settle; as lerobot evaluates."""


@dataclass(frozen=True)
class Place:
    """Where a task's files are and what it is about.

    Attributes:
        suite: the suite as vlascope names it.
        folder: the suite's folder, of task files and of initial states.
        stem: the name of both files.
        pro: whether they are LIBERO-PRO's.
        goal: what must hold in the end.
        interest: the things that the task is about.
    """

    suite: str
    folder: str
    stem: str
    pro: bool
    goal: Goal
    interest: tuple[str, ...]

    @property
    def max_steps(self) -> int:
        """Steps of an episode, a variant's like its suite's."""
        return MAX_STEPS[_base_of(self.suite)[0]]


@cache
def suites() -> Mapping[str, tuple[Task, ...]]:
    """Every suite's tasks in the benchmark's own order.

    A task is named `SUITE/FILE`: `libero_goal/put_the_bowl_on_the_plate`. A variant of LIBERO-PRO
    is a suite of its own: `libero_goal_swap`.
    """
    return {
        suite: tuple(_task(suite, row) for row in rows) for suite, rows in _table().items()
    }  # fmt: skip


def place(name: str) -> Place:
    """The files of a task that exists."""
    return _places()[name]


def goals_of_scene(scene: str, suite: str) -> Mapping[str, Goal]:
    """What each task of LIBERO's suites, and of `suite`, wants that starts from this scene."""
    return {
        task.name: place(task.name).goal
        for name, tasks in suites().items()
        for task in tasks
        if task.scene == scene and name in (*BASE_SUITES, suite)
    }


@cache
def _table() -> Mapping[str, list[dict[str, Any]]]:
    text = files(__package__).joinpath("tasks.json").read_text("utf-8")
    found: Mapping[str, list[dict[str, Any]]] = json.loads(text)
    return found


@cache
def _places() -> Mapping[str, Place]:
    found = {}
    for suite, rows in _table().items():
        base, variant = _base_of(suite)
        folder = f"{base}_{PRO_VARIANTS[variant]}" if variant else base
        for row in rows:
            goal = tuple(tuple(condition) for condition in row["goal"])
            found[f"{suite}/{row['name']}"] = Place(
                suite, folder, row["name"], bool(variant), goal, tuple(row["interest"])
            )
    return found


def _base_of(suite: str) -> tuple[str, str]:
    """`libero_goal_swap` as (`libero_goal`, `swap`); of a suite of LIBERO's own, an empty end."""
    if suite in BASE_SUITES:
        return suite, ""
    base, _, variant = suite.rpartition("_")
    return base, variant


def _task(suite: str, row: Mapping[str, Any]) -> Task:
    instruction, *paraphrases = row["say"]
    structure = {key: row.get(key, "") for key in ("verb", "object", "motor", "opposite")}
    name = f"{suite}/{row['name']}"
    return Task(name, instruction, tuple(paraphrases), row["scene"], (suite,), **structure)
