"""What a picture leaves open: tasks that share their scene with another, and tasks that do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from vlascope.benchmark import Task

__all__ = ["SHARED", "UNIQUE", "by_structure", "scene_partners"]

SHARED, UNIQUE = "shared", "unique"


def by_structure(tasks: Sequence[Task], among: Iterable[Task] = ()) -> dict[str, tuple[str, ...]]:
    """Names of the tasks in `shared` and in `unique` scenes, where there are any.

    Args:
        tasks: what is sorted; a task that names no scene counts as having one of its own.
        among: tasks whose scenes are counted; by default `tasks` themselves, because a picture
            is only ambiguous to a policy if it has another task for it.
    """
    counts = Counter(t.scene for t in (tuple(among) or tasks) if t.scene)
    found: dict[str, tuple[str, ...]] = {
        SHARED: tuple(t.name for t in tasks if counts[t.scene] > 1),
        UNIQUE: tuple(t.name for t in tasks if counts[t.scene] <= 1),
    }
    return {structure: names for structure, names in found.items() if names}


def scene_partners(tasks: Sequence[Task]) -> dict[str, str]:
    """For every task of a shared scene the next one there, the last taking the first.

    Every instruction is used as often as every other, and partners that say the same are skipped.
    """
    found = {}
    for task in tasks:
        scene = [t for t in tasks if t.scene and t.scene == task.scene]
        start = scene.index(task) + 1 if scene else 0
        later = [*scene[start:], *scene[: max(start - 1, 0)]]
        partner = next((t for t in later if t.instruction != task.instruction), None)
        if partner is not None:
            found[task.name] = partner.name
    return found
