"""Causal arms are judged beside controls, and a control has to be one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from vlascope import plugins
from vlascope.study.from_analysis import FROM_ANALYSIS
from vlascope.study.problems import Problem, known_name
from vlascope.study.schema import Arm, Prompt, SourceChoice, Study

__all__ = ["AUTOMATIC", "CONTROL_KINDS", "control_of", "control_problems", "is_causal", "source_of"]

CONTROL_KINDS = frozenset({"identity", "random_direction"})
"""Edits that mean nothing by construction."""
AUTOMATIC = ("identity", "random_direction", "matched", "random_subspace")
"""Roles whose arm may be made from the edits it controls."""


def is_causal(arm: Arm) -> bool:
    """Whether an arm edits activations in a way that means something."""
    return any(_kind(edit) not in CONTROL_KINDS for edit in arm.interventions)


def source_of(edit: Mapping[str, Any]) -> SourceChoice | None:
    """The source that an edit names in the study's own terms, if any.

    Also that of the edit it is `like`, and what an analysis' edit is used `with`.
    """
    source = edit.get("source")
    if isinstance(source, Mapping) and "arm" in source:
        return SourceChoice.model_validate(source)
    inner = edit.get("like") or edit.get("with")
    return source_of(inner) if isinstance(inner, Mapping) else None


def control_of(role: str, edit: Mapping[str, Any]) -> dict[str, Any] | None:
    """The edit that plays `role` for one a study wrote; None where its kind knows of none."""
    if edit.get("kind") == FROM_ANALYSIS:
        return {**edit, "role": role}
    return plugins.intervention_class(str(edit["kind"])).control(role, edit)


def control_problems(study: Study) -> Iterator[Problem]:
    """Missing controls, and arms that cannot play the role they are given."""
    for name, arm in study.arms.items():
        at = ("arms", name, "controls")
        controls = arm.controls
        given = controls.by_role if controls else {}
        for role, control in given.items():
            if control == "auto" and role in AUTOMATIC:
                if any(_uncontrolled(role, edit) for edit in arm.interventions):
                    yield Problem((*at, role), f"an edit of {name} makes no {role} control itself")
                continue
            if control not in study.arms:
                yield from known_name((*at, role), control, study.arms, "arm")
            elif complaint := _unfit(study, arm, role, study.arms[control]):
                yield Problem((*at, role), f"{control} is no {role} control: {complaint}")
        missing = [role for role in _required(arm) if role not in given]
        if missing and not (controls and controls.waived):
            yield Problem(
                ("arms", name),
                f"a causal arm is judged beside controls, and {', '.join(missing)} is missing; "
                "add `controls: {identity: auto, random_direction: auto, ...}` or say why not: "
                "`controls: {waived: REASON}`",
            )


def _kind(edit: Mapping[str, Any]) -> Any:
    """What an edit will be: an analysis's edit that plays a role is that control."""
    role = edit.get("role") if edit.get("kind") == FROM_ANALYSIS else None
    return role if role in CONTROL_KINDS else edit.get("kind")


def _required(arm: Arm) -> list[str]:
    if not is_causal(arm):
        return []
    sources = [s for edit in arm.interventions if (s := source_of(edit))]
    crossed = any(s.task != "same" for s in sources)
    more = ["no_injection", "cross_prompt"] if crossed else []
    return ["identity", "random_direction", *more]


def _uncontrolled(role: str, edit: Mapping[str, Any]) -> bool:
    known = edit.get("kind") == FROM_ANALYSIS or edit.get("kind") in plugins.interventions()
    return known and control_of(role, edit) is None


def _unfit(study: Study, arm: Arm, role: str, control: Arm) -> str | None:
    """Why an arm cannot play a role, or None."""
    kinds = {_kind(edit) for edit in control.interventions}
    if role in CONTROL_KINDS:
        return None if kinds == {role} else f"its edits are {sorted(map(str, kinds)) or 'none'}"
    if role in AUTOMATIC:
        return None if kinds else "it has no edit"
    if kinds:
        return "it has edits"
    if role == "no_injection":
        return None if control.prompt == arm.prompt else "its prompt differs"
    if role == "prompting":
        return None if control.prompt != arm.prompt else "its prompt is the arm's own"
    told = control.prompt
    named = told.task if isinstance(told, Prompt) and told.from_step is None else None
    for edit in arm.interventions:
        source = source_of(edit)
        if source is None or source.task == "same":
            continue
        if named is None or not _agree(study, source.task, named):
            return f"its prompt does not follow the source's task ({source.task})"
    return None


def _agree(study: Study, source: str | dict[Literal["fixed"], str], named: str) -> bool:
    """Whether a prompt's pairing gives every target the very task its activations come from."""
    prompts = study.pairings.get(named, {})
    if isinstance(source, dict):
        return set(prompts.values()) == {source["fixed"]}
    return study.pairings.get(source, {}).items() <= prompts.items()
