"""From a study to the episodes of every arm, controls and recordings made automatically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from vlascope.benchmark import Task
from vlascope.errors import StudyFileError, unknown_name
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.study.controls import source_of
from vlascope.study.schema import Arm, SourceChoice, Study
from vlascope.study.tasks import known_tasks, matching

__all__ = ["Cell", "Design", "Reference", "WorkGroup", "design"]

SOURCE_SUFFIX = ".source"

Cell = tuple[str, int]
"""A task and a seed: what episodes of different arms are paired by."""


@dataclass(frozen=True)
class Reference:
    """An episode that another one takes activations or instructions from."""

    arm: str
    task: str
    seed: int

    @property
    def episode(self) -> str:
        """Its name in stores."""
        return f"{self.arm}/{self.task}/{self.seed}"


@dataclass(frozen=True)
class WorkGroup:
    """All episodes of one arm.

    Attributes:
        arm: its name; `X.source` records X, `X.identity` and `X.random_direction` were made.
        role: `arm`, `control` (made automatically) or `source` (only there to be recorded).
        definition: what is done.
        plans: its episodes.
        sources: by target cell, the source task's episode, for arms that have one.
        record: activations to keep; globs may still name depth thirds.
        needs: arms whose recordings it reads.
    """

    arm: str
    role: Literal["arm", "control", "source"]
    definition: Arm
    plans: tuple[EpisodePlan, ...]
    sources: Mapping[Cell, Reference] = field(default_factory=dict)
    record: RecordSpec | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Design:
    """A study laid out: its tasks in order, and its groups in the order they run."""

    study: Study
    tasks: tuple[str, ...]
    groups: tuple[WorkGroup, ...]

    def group(self, arm: str) -> WorkGroup:
        """The group of that arm.

        Raises:
            UnknownName: there is none.
        """
        for group in self.groups:
            if group.arm == arm:
                return group
        raise unknown_name("arm", arm, [g.arm for g in self.groups])

    def controls(self, arm: str) -> dict[str, str]:
        """Control arm by role."""
        declared = self.group(arm).definition.controls
        named = declared.by_role if declared else {}
        return {r: f"{arm}.{r}" if c == "auto" else c for r, c in named.items()}

    def only(self, arms: Sequence[str]) -> Design:
        """The groups that the globs name, and the recordings they need.

        Raises:
            UnknownName: a glob names none.
        """
        for glob in arms:
            if not any(fnmatchcase(g.arm, glob) for g in self.groups):
                raise unknown_name("arm", glob, [g.arm for g in self.groups])
        kept = [g for g in self.groups if any(fnmatchcase(g.arm, glob) for glob in arms)]
        needed = {g.arm for g in kept}.union(*(g.needs for g in kept))
        return replace(self, groups=tuple(g for g in self.groups if g.arm in needed))

    def shard(self, index: int, count: int) -> Design:
        """Every `count`-th (task, seed) from `index` (0-based), with the recordings it needs."""
        cells = [(task, seed) for seed in self.study.seeds for task in self.tasks]
        mine = set(cells[index::count])
        groups = [
            replace(g, plans=tuple(p for p in g.plans if (p.task, p.seed) in mine))
            for g in self.groups
            if g.role != "source"
        ]
        groups = [g for g in groups if g.plans]
        return replace(self, groups=_with_sources(self.study, groups))


def design(study: Study) -> Design:
    """Lay a checked study out.

    Raises:
        StudyFileError: an arm has no episode to play.
    """
    tasks = matching(study.benchmark.name, study.tasks)
    groups = []
    for name, arm in study.arms.items():
        group = _group(study, tasks, name, "arm", arm)
        groups.append(group)
        played = tuple(dict.fromkeys(p.task for p in group.plans))
        for role, control in (arm.controls.by_role if arm.controls else {}).items():
            if control == "auto":
                made = _control(role, name, arm, played)
                groups.append(_group(study, tasks, f"{name}.{role}", "control", made))
    return Design(study, tasks, _with_sources(study, groups))


def _control(role: str, of: str, arm: Arm, tasks: tuple[str, ...]) -> Arm:
    """An arm like `arm` with its edits replaced by meaningless ones at the same places."""
    edits = []
    for edit in arm.interventions:
        where = {k: edit[k] for k in ("at", "calls", "steps", "tokens", "episodes") if k in edit}
        if role == "random_direction":
            where["like"] = edit
        edits.append({"kind": role, **where})
    about = {
        "identity": f"control of {of}: hooked, nothing changed",
        "random_direction": f"control of {of}: equal norm, random direction",
    }[role]
    return arm.model_copy(
        update={"interventions": tuple(edits), "about": about, "controls": None, "tasks": tasks}
    )


def _group(
    study: Study, tasks: Sequence[str], name: str, role: Literal["arm", "control"], arm: Arm
) -> WorkGroup:
    chosen = matching(study.benchmark.name, arm.tasks) if arm.tasks else tasks
    pairings = [study.pairings[p] for p in _pairings_of(arm)]
    chosen = [t for t in chosen if all(t in pairing for pairing in pairings)]
    if not chosen:
        raise StudyFileError(f"arm {name!r} has no task: none of its tasks is in its pairing")
    known = known_tasks(study.benchmark.name)
    cells = [(task, seed) for seed in arm.seeds or study.seeds for task in chosen]
    plans = tuple(
        EpisodePlan(
            arm=name,
            task=task,
            seed=seed,
            instruction=_instruction(study, arm, known, task),
            max_steps=study.max_steps,
            perturbation=arm.perturb,
        )
        for task, seed in cells
    )
    return WorkGroup(name, role, arm, plans, _sources(study, arm, cells))


def _pairings_of(arm: Arm) -> set[str]:
    """Every pairing an arm's prompt or sources go by."""
    found = set()
    if arm.prompt is not None and not isinstance(arm.prompt, str) and arm.prompt.task:
        found.add(arm.prompt.task)
    for edit in arm.interventions:
        choice = source_of(edit)
        if choice and isinstance(choice.task, str) and choice.task != "same":
            found.add(choice.task)
    return found


def _instruction(study: Study, arm: Arm, known: Mapping[str, Task], task: str) -> str | None:
    prompt = arm.prompt
    if prompt is None or isinstance(prompt, str):
        return prompt
    if prompt.task is not None:
        return known[study.pairings[prompt.task][task]].instruction
    assert prompt.paraphrase is not None
    ways = known[task].paraphrases
    if prompt.paraphrase > len(ways):
        raise StudyFileError(f"{task} has {len(ways)} paraphrases, not {prompt.paraphrase}")
    return ways[prompt.paraphrase - 1]


def _sources(study: Study, arm: Arm, cells: Sequence[Cell]) -> dict[Cell, Reference]:
    """The source episode by cell: of an injection from another task, else the prompt's task."""
    choices = [c for edit in arm.interventions if (c := source_of(edit))]
    crossed = [c for c in choices if c.task != "same"] or choices
    if crossed:
        return {cell: reference(study, crossed[0], cell) for cell in cells}
    prompt = arm.prompt
    if prompt is None or isinstance(prompt, str) or prompt.task is None:
        return {}
    pairing = study.pairings[prompt.task]
    return {
        (task, seed): Reference(study.baseline_arm, pairing[task], seed) for task, seed in cells
    }


def reference(study: Study, choice: SourceChoice, cell: Cell) -> Reference:
    """The recorded episode that a cell's activations come from."""
    task, seed = cell
    if isinstance(choice.task, dict):
        source = choice.task["fixed"]
    else:
        source = task if choice.task == "same" else study.pairings[choice.task][task]
    if choice.seed == "other":
        seed = study.seeds[(study.seeds.index(seed) + 1) % len(study.seeds)]
    return Reference(f"{choice.arm}{SOURCE_SUFFIX}", source, seed)


def _with_sources(study: Study, groups: Sequence[WorkGroup]) -> tuple[WorkGroup, ...]:
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
            instruction=_instruction(study, definition, known, task),
            max_steps=study.max_steps,
            stop_on_success=False,
            perturbation=definition.perturb,
        )
        for task, seed in cells
    )
    about = f"{arm} once more, to full length, recorded to be injected"
    copy = definition.model_copy(update={"about": about, "controls": None})
    return WorkGroup(plans[0].arm, "source", copy, plans)


def _at(edit: Mapping[str, Any]) -> tuple[str, ...]:
    at = edit.get("at", ())
    return (at,) if isinstance(at, str) else tuple(at)
