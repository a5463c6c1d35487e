"""Tasks by name, glob or suite; reads a benchmark's tables without starting a simulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from vlascope import plugins
from vlascope.benchmark import Task
from vlascope.errors import unknown_name

__all__ = ["known_tasks", "matching"]

SUITE = "suite:"


def known_tasks(benchmark: str) -> Mapping[str, Task]:
    """Every task of a registered benchmark by name."""
    return {task.name: task for task in plugins.benchmark_class(benchmark).tasks()}


def matching(benchmark: str, patterns: Iterable[str]) -> tuple[str, ...]:
    """Names of the tasks that names, globs or `suite:NAME` stand for, each once, in order.

    Raises:
        UnknownName: a pattern matches nothing; near matches are listed.
    """
    tasks = known_tasks(benchmark)
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern.startswith(SUITE):
            suite = plugins.benchmark_class(benchmark).tasks(pattern.removeprefix(SUITE))
            names = [task.name for task in suite]
        else:
            names = [name for name in tasks if fnmatchcase(name, pattern)]
        if not names:
            raise unknown_name(f"{benchmark} task", pattern, tasks)
        found.update(dict.fromkeys(names))
    return tuple(found)
