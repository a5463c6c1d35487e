"""Which task's run goes into which, from the benchmark's metadata alone."""

from __future__ import annotations

from collections.abc import Sequence

from vlascope.benchmark import Task

__all__ = ["cross_task", "same_scene"]


def same_scene(tasks: Sequence[Task]) -> dict[str, str]:
    """By task, the next by name of its scene, the last taking the first; lone tasks are left out.

    Tasks of equal instruction are never paired: nothing would differ.
    """
    return {
        task.name: other
        for task in sorted(tasks, key=lambda t: t.name)
        if task.scene and (other := _next(task, [t for t in tasks if t.scene == task.scene]))
    }


def cross_task(tasks: Sequence[Task]) -> dict[str, str]:
    """By task, another one: of the same scene if there is one, else the next by name."""
    paired = same_scene(tasks)
    lone = [t for t in tasks if t.name not in paired]
    among = lone if len(lone) > 1 else list(tasks)
    return {
        task.name: other
        for task in sorted(tasks, key=lambda t: t.name)
        if (other := paired.get(task.name) or _next(task, among))
    }


def _next(task: Task, among: Sequence[Task]) -> str | None:
    others = sorted(t.name for t in among if t.instruction != task.instruction)
    later = [name for name in others if name > task.name]
    return next(iter(later or others), None)
