"""What must hold between the parts of a study before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, cast

from pydantic import ValidationError

from vlascope import plugins
from vlascope.errors import VlascopeError
from vlascope.study.controls import control_problems
from vlascope.study.expansion import Unfit, analysis_of
from vlascope.study.from_analysis import FROM_ANALYSIS, FROM_ANALYSIS_KEYS, analyses_of
from vlascope.study.problems import Problem, known_name
from vlascope.study.schema import Finding, Prompt, SourceChoice, Study
from vlascope.study.tasks import known_tasks, matching
from vlascope.study.windows import window_problems

__all__ = ["problems_of"]


def problems_of(study: Study) -> list[Problem]:
    """Everything that does not fit together; an empty list for a sound study."""
    names = list(_names(study))
    if names:
        return names
    checks: tuple[Callable[[Study], Iterable[Problem]], ...] = (
        _tasks, _pairings, _prompts, _perturbations, _edits, _windows, _analyses,
        control_problems, _findings, _report, _stops,
    )  # fmt: skip
    return [problem for check in checks for problem in check(study)]


def _names(study: Study) -> Iterator[Problem]:
    for name, policy in study.policies.items():
        known, asked = [*plugins.adapters(), *plugins.checkpoints()], policy.adapter
        if asked not in plugins.adapters():
            full = f"{asked}:{policy.checkpoint}"
            asked = full if any(k.startswith(f"{asked}:") for k in known) else asked
        yield from known_name(("policies", name, "adapter"), asked, known)
    yield from known_name(("benchmark", "name"), study.benchmark.name, plugins.benchmarks())
    if study.baseline:
        yield from known_name(("baseline",), study.baseline, study.arms, "arm")


def _tasks(study: Study) -> Iterator[Problem]:
    places: dict[tuple[str | int, ...], tuple[str, ...]] = {("tasks",): study.tasks}
    places |= {("groups", name): patterns for name, patterns in study.groups.items()}
    places |= {("arms", n, "tasks"): arm.tasks for n, arm in study.arms.items() if arm.tasks}
    for at, patterns in places.items():
        for i, pattern in enumerate(patterns):
            yield from _refused((*at, i), partial(matching, study.benchmark.name, [pattern]))
    for name, arm in study.arms.items():
        outside = set(arm.seeds or ()) - set(study.seeds)
        if outside:
            yield Problem(
                ("arms", name, "seeds"), f"seeds {sorted(outside)} are not among the study's"
            )


def _pairings(study: Study) -> Iterator[Problem]:
    tasks = known_tasks(study.benchmark.name)
    for name, pairing in study.pairings.items():
        for target, source in pairing.items():
            at = ("pairings", name, target)
            yield from known_name(at, target, tasks, f"{study.benchmark.name} task")
            yield from known_name(at, source, tasks, f"{study.benchmark.name} task")


def _prompts(study: Study) -> Iterator[Problem]:
    for name, arm in study.arms.items():
        prompt = arm.prompt
        if prompt is not None and not isinstance(prompt, str) and prompt.task is not None:
            at = ("arms", name, "prompt", "task")
            yield from known_name(at, prompt.task, study.pairings, "pairing")


def _stops(study: Study) -> Iterator[Problem]:
    for i, rule in enumerate(study.stop):
        if rule.against is not None:
            yield from known_name(("stop", i, "against"), rule.against, study.arms, "arm")


def _windows(study: Study) -> Iterator[Problem]:
    """Steps at which nothing could happen, where the study says how long episodes are."""
    for name, arm in study.arms.items():
        at = ("arms", name)
        if isinstance(arm.prompt, Prompt) and arm.prompt.from_step is not None:
            first = arm.prompt.from_step
            yield from window_problems((*at, "prompt", "from_step"), (first, None), study.max_steps)
        for i, edit in enumerate(arm.interventions):
            if edit.get("steps") is not None:
                here = (*at, "interventions", i, "steps")
                yield from window_problems(here, edit["steps"], study.max_steps)


def _edits(study: Study) -> Iterator[Problem]:
    for name, arm in study.arms.items():
        for i, edit in enumerate(arm.interventions):
            yield from _edit(study, ("arms", name, "interventions", i), edit)


def _edit(study: Study, at: tuple[str | int, ...], edit: Mapping[str, Any]) -> Iterator[Problem]:
    kind = edit.get("kind")
    if kind == FROM_ANALYSIS:
        yield from _reference(study, at, edit)
        return
    if not isinstance(kind, str):
        yield Problem(at, f"an intervention needs `kind`, one of {sorted(plugins.interventions())}")
        return
    if kind not in plugins.interventions():
        yield from known_name((*at, "kind"), kind, plugins.interventions(), "intervention")
        return
    fields = plugins.intervention_class(kind).model_fields
    for key in edit:
        yield from known_name((*at, key), str(key), {"kind", *fields}, f"field of {kind}")
    for key, field in fields.items():
        if key != "kind" and field.is_required() and key not in edit:
            yield Problem(at, f"{kind} needs `{key}`")
    if isinstance(edit.get("like"), Mapping):
        yield from _edit(study, (*at, "like"), cast(Mapping[str, Any], edit["like"]))
    if isinstance(edit.get("source"), Mapping) and "arm" in edit["source"]:
        yield from _source(study, (*at, "source"), edit["source"])


def _reference(
    study: Study, at: tuple[str | int, ...], edit: Mapping[str, Any]
) -> Iterator[Problem]:
    for key in edit:
        yield from known_name((*at, key), str(key), FROM_ANALYSIS_KEYS, f"field of {FROM_ANALYSIS}")
    for key in ("analysis", "key"):
        if key not in edit:
            yield Problem(at, f"{FROM_ANALYSIS} needs `{key}`")
    if "analysis" in edit:
        yield from known_name((*at, "analysis"), edit["analysis"], study.analyses, "analysis")


def _analyses(study: Study) -> Iterator[Problem]:
    order = list(study.arms)
    for name in study.analyses:
        try:
            read = analysis_of(study, name).arms
        except Unfit as error:
            yield from error.problems
            continue
        asking = [
            arm for arm, written in study.arms.items() if name in analyses_of(written.interventions)
        ]
        for i, arm in enumerate(read):
            at = ("analyses", name, "arms", i)
            yield from known_name(at, arm, study.arms, "arm")
            late = [a for a in asking if arm in order and order.index(a) <= order.index(arm)]
            if late:
                yield Problem(at, f"{arm} must come before {late[0]}, which asks for its result")


def _perturbations(study: Study) -> Iterator[Problem]:
    for name, arm in study.arms.items():
        if arm.perturb is None:
            continue
        written = arm.perturb
        if isinstance(written, str):
            written = ({"kind": "function", "target": written},)
        for i, data in enumerate(written):
            yield from _perturbation(("arms", name, "perturb", i), data)


def _perturbation(at: tuple[str | int, ...], data: Mapping[str, Any]) -> Iterator[Problem]:
    kind = data.get("kind")
    if not isinstance(kind, str):
        yield Problem(at, f"a perturbation needs `kind`, one of {sorted(plugins.perturbations())}")
        return
    if kind not in plugins.perturbations():
        yield from known_name((*at, "kind"), kind, plugins.perturbations(), "perturbation")
        return
    found = plugins.perturbation_class(kind)
    strangers = [key for key in data if key not in {"kind", *found.model_fields}]
    for key in strangers:
        yield from known_name((*at, key), str(key), found.model_fields, f"field of {kind}")
    try:
        found.model_validate({k: v for k, v in data.items() if k not in strangers})
    except ValidationError as error:
        yield from (Problem((*at, *e["loc"]), e["msg"]) for e in error.errors())


def _source(
    study: Study, at: tuple[str | int, ...], written: Mapping[str, Any]
) -> Iterator[Problem]:
    try:
        choice = SourceChoice.model_validate(written)
    except ValidationError as error:
        for e in error.errors():
            yield Problem((*at, *e["loc"]), e["msg"])
        return
    yield from known_name((*at, "arm"), choice.arm, study.arms, "arm")
    if choice.arm in study.arms and study.arms[choice.arm].interventions:
        yield Problem((*at, "arm"), f"{choice.arm} is edited itself; record an unedited arm")
    if isinstance(choice.task, dict):
        task = choice.task["fixed"]
        yield from known_name((*at, "task"), task, known_tasks(study.benchmark.name), "task")
    elif choice.task != "same":
        yield from known_name((*at, "task"), choice.task, study.pairings, "pairing")
    if choice.seed == "other" and len(study.seeds) < 2:
        yield Problem((*at, "seed"), "another seed needs at least two seeds in the study")


def _findings(study: Study) -> Iterator[Problem]:
    from vlascope.study.metrics import METRICS

    arms = {*study.arms, *_automatic(study)}
    for name, finding in study.findings.items():
        at = ("findings", name)
        yield from known_name((*at, "metric"), finding.metric, METRICS)
        for i, arm in enumerate(finding.arms):
            yield from known_name((*at, "arms", i), arm, arms)
        for i, arm in enumerate(finding.against or ()):
            yield from known_name((*at, "against", i), arm, arms)
        yield from _finding_groups(study, name, finding)


def _finding_groups(study: Study, name: str, finding: Finding) -> Iterator[Problem]:
    if finding.by == "groups" and len(study.groups) < 2:
        yield Problem(("findings", name, "by"), "`by: groups` needs at least two `groups`")
    for i, pattern in enumerate(finding.tasks or ()):
        if pattern not in study.groups:
            yield from _refused(
                ("findings", name, "tasks", i),
                partial(matching, study.benchmark.name, [pattern]),
            )


def _automatic(study: Study) -> Iterator[str]:
    for name, arm in study.arms.items():
        for role, control in (arm.controls.by_role if arm.controls else {}).items():
            if control == "auto":
                yield f"{name}.{role}"


def _report(study: Study) -> Iterator[Problem]:
    for field in ("strips", "trajectories"):
        pairs: tuple[str, ...] | None = getattr(study.report, field)
        for i, pair in enumerate(pairs or ()):
            task, slash, seed = pair.rpartition("/")
            if not slash or not seed.isdigit():
                yield Problem(("report", field, i), f"expected TASK/SEED, got {pair!r}")
            else:
                yield from known_name(("report", field, i), task, known_tasks(study.benchmark.name))


def _refused(at: tuple[str | int, ...], attempt: Callable[[], object]) -> Iterator[Problem]:
    try:
        attempt()
    except VlascopeError as error:
        yield Problem(at, str(error))
