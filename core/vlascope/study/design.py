"""From a study to the episodes of every arm, controls and recordings made automatically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final, Literal

from vlascope.errors import StudyFileError, unknown_name
from vlascope.records import EpisodePlan
from vlascope.study.controls import control_of, source_of
from vlascope.study.expansion import analysis_of
from vlascope.study.from_analysis import analyses_of
from vlascope.study.groups import Cell, Reference, WorkGroup, instruction, reference, switch
from vlascope.study.recordings import with_sources
from vlascope.study.schema import Arm, Study
from vlascope.study.tasks import known_tasks, matching

__all__ = ["Design", "design"]


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
        for name in {n for g in kept for n in analyses_of(g.definition.interventions)}:
            needed |= set(analysis_of(self.study, name).arms)
        return replace(self, groups=tuple(g for g in self.groups if g.arm in needed))

    def shard(self, index: int, count: int) -> Design:
        """Every `count`-th (task, seed) from `index` (0-based), with the recordings it needs.

        Raises:
            StudyFileError: arms wait for an analysis, or may stop early, by episodes of all shards.
        """
        if self.study.stop:
            raise StudyFileError(
                "arms that may stop early (`stop`) look at all of their episodes: run the study in "
                "one piece, split it by arms (--arm), or leave `stop` out (--set stop=[])"
            )
        waiting = [g.arm for g in self.groups if analyses_of(g.definition.interventions)]
        if waiting:
            raise StudyFileError(
                f"{waiting[0]} waits for an analysis of episodes that other shards play; run a "
                "study whose arms wait for analyses in one piece, or split it by arms (--arm)"
            )
        cells = [(task, seed) for seed in self.study.seeds for task in self.tasks]
        mine = set(cells[index::count])
        groups = [
            replace(g, plans=tuple(p for p in g.plans if (p.task, p.seed) in mine))
            for g in self.groups
            if g.role != "source"
        ]
        groups = [g for g in groups if g.plans]
        return replace(self, groups=with_sources(self.study, groups))


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
    return Design(study, tasks, with_sources(study, groups))


_ABOUT_CONTROL: Final = {
    "identity": "hooked, nothing changed",
    "random_direction": "equal norm, random direction",
    "matched": "the same edit of something comparable",
    "random_subspace": "the same edit in a random subspace of equal dimension",
}


def _control(role: str, of: str, arm: Arm, tasks: tuple[str, ...]) -> Arm:
    """An arm like `arm` with its edits replaced by meaningless ones at the same places."""
    edits = tuple(made for edit in arm.interventions if (made := control_of(role, edit)))
    about = f"control of {of}: {_ABOUT_CONTROL[role]}"
    return arm.model_copy(
        update={"interventions": edits, "about": about, "controls": None, "tasks": tasks}
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
            instruction=instruction(study, arm, known, task),
            max_steps=study.max_steps,
            perturbation=arm.perturb,
            switch=switch(study, arm, known, task),
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
