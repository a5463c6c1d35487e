"""The tasks a finding is about, and the parts it sets against each other."""

from __future__ import annotations

from vlascope.study.design import Design
from vlascope.study.schema import Finding
from vlascope.study.tasks import known_tasks, matching

__all__ = ["parts_of"]


def parts_of(design: Design, finding: Finding) -> dict[str, tuple[str, ...]]:
    """Tasks by the name of the part they make up."""
    benchmark = design.study.benchmark.name
    every = {t for g in design.groups for t in (p.task for p in g.plans)}
    tasks = [t for t in known_tasks(benchmark) if t in every]
    if finding.tasks is not None:
        wanted = {t for p in finding.tasks for t in _named(design, p)}
        tasks = [t for t in tasks if t in wanted]
    if finding.by is None:
        return {"": tuple(tasks)}
    if finding.by == "groups":
        groups = {n: matching(benchmark, p) for n, p in design.study.groups.items()}
        parts = {n: tuple(t for t in tasks if t in group) for n, group in groups.items()}
        return {n: part for n, part in parts.items() if part}
    known = known_tasks(benchmark)
    found: dict[str, tuple[str, ...]] = {}
    for task in tasks:
        key = task if finding.by == "task" else known[task].scene or task
        found[key] = (*found.get(key, ()), task)
    return found


def _named(design: Design, pattern: str) -> tuple[str, ...]:
    groups = design.study.groups
    return matching(design.study.benchmark.name, groups.get(pattern, (pattern,)))
