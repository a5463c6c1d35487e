"""Recording arms: played once more, to full length, for others to be injected from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.study.controls import source_of
from vlascope.study.groups import SOURCE_SUFFIX, Cell, WorkGroup, instruction, reference, switch
from vlascope.study.schema import Study
from vlascope.study.tasks import known_tasks

__all__ = ["with_sources"]


def with_sources(study: Study, groups: Sequence[WorkGroup]) -> tuple[WorkGroup, ...]:
    """The groups, each recording put before the first group that reads it.

    All recordings of a study keep the same hook points, so that one store holds them.
    """
    wanted: dict[str, dict[Cell, None]] = {}
    needs: dict[str, dict[str, None]] = {group.arm: {} for group in groups}
    globs: dict[str, None] = {}
    for group in groups:
        globs.update(dict.fromkeys(group.definition.record))
        for edit in group.definition.interventions:
            if (choice := source_of(edit)) is None:
                continue
            read = [reference(study, choice, (p.task, p.seed)) for p in group.plans]
            wanted.setdefault(choice.arm, {}).update(dict.fromkeys((r.task, r.seed) for r in read))
            globs.update(dict.fromkeys(_at(edit)))
            needs[group.arm][f"{choice.arm}{SOURCE_SUFFIX}"] = None
    spec = RecordSpec(at=tuple(globs)) if globs else None
    made = {
        f"{arm}{SOURCE_SUFFIX}": replace(_source_group(study, arm, cells), record=spec)
        for arm, cells in wanted.items()
    }
    ordered: list[WorkGroup] = []
    for group in groups:
        ordered.extend(made.pop(arm) for arm in needs[group.arm] if arm in made)
        record = spec if group.definition.record else None
        ordered.append(replace(group, needs=tuple(needs[group.arm]), record=record))
    return tuple(ordered)


def _source_group(study: Study, arm: str, cells: Mapping[Cell, None]) -> WorkGroup:
    """An arm played once more, to full length, with the wanted activations recorded."""
    definition = study.arms[arm]
    known = known_tasks(study.benchmark.name)
    plans = tuple(
        EpisodePlan(
            arm=f"{arm}{SOURCE_SUFFIX}",
            task=task,
            seed=seed,
            instruction=instruction(study, definition, known, task),
            max_steps=study.max_steps,
            stop_on_success=False,
            perturbation=definition.perturb,
            switch=switch(study, definition, known, task),
        )
        for task, seed in cells
    )
    about = f"{arm} once more, to full length, recorded to be injected"
    copy = definition.model_copy(update={"about": about, "controls": None})
    return WorkGroup(plans[0].arm, "source", copy, plans)


def _at(edit: Mapping[str, Any]) -> tuple[str, ...]:
    at = edit.get("at", ())
    return (at,) if isinstance(at, str) else tuple(at)
