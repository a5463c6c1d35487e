"""Edits as a study writes them, turned into interventions for one policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vlascope.errors import UnknownName
from vlascope.hooks import Pathway
from vlascope.interventions import Intervention, parse_intervention
from vlascope.interventions.sources import ActivationSource
from vlascope.recording import RecordSpec
from vlascope.study.controls import source_of
from vlascope.study.depth import expand_depth
from vlascope.study.design import Design
from vlascope.study.from_analysis import FROM_ANALYSIS, resolved
from vlascope.study.groups import WorkGroup, reference
from vlascope.study.schema import Arm

if TYPE_CHECKING:
    from vlascope.study.analysis import AnalysisResult

__all__ = ["bind", "expanded_for", "for_policy", "found"]


def for_policy(design: Design, pathways: Iterable[Pathway]) -> Design:
    """The design with depth thirds replaced by this policy's layers.

    Raises:
        UnknownName: a pathway is not there, or is too shallow for a third.
    """
    stacks = tuple(pathways)
    return replace(design, groups=tuple(expanded_for(group, stacks) for group in design.groups))


def found(
    group: WorkGroup, pathways: Iterable[Pathway], results: Mapping[str, AnalysisResult]
) -> WorkGroup:
    """The group with its edits as the analyses it asks found them.

    Raises:
        EditUnavailable: an analysis found no such edit.
        UnknownName: a pathway is not there.
    """
    edits = resolved(group.definition.interventions, results)
    definition = group.definition.model_copy(update={"interventions": edits})
    return expanded_for(replace(group, definition=definition), tuple(pathways))


def expanded_for(group: WorkGroup, pathways: tuple[Pathway, ...]) -> WorkGroup:
    """The group with depth thirds replaced by the layers of these pathways.

    Raises:
        UnknownName: a pathway is not there, or is too shallow for a third.
    """
    edits = tuple(_expanded_edit(edit, pathways) for edit in group.definition.interventions)
    record = group.record
    if record is not None:
        at = _expanded_where_possible(record.at, pathways)
        record = RecordSpec.model_validate({**record.model_dump(), "at": at})
    definition: Arm = group.definition.model_copy(update={"interventions": edits})
    return replace(group, definition=definition, record=record)


def _expanded_where_possible(
    globs: Sequence[str], pathways: tuple[Pathway, ...]
) -> tuple[str, ...]:
    """What is to be recorded, without the pathways that only other policies of the study have."""
    found: list[str] = []
    refusal: UnknownName | None = None
    for glob in globs:
        try:
            found += expand_depth((glob,), pathways)
        except UnknownName as error:
            refusal = error
    if refusal is not None and not found:
        raise refusal
    return tuple(dict.fromkeys(found))


def _expanded_edit(edit: Mapping[str, Any], pathways: tuple[Pathway, ...]) -> dict[str, Any]:
    if edit.get("kind") == FROM_ANALYSIS:
        return dict(edit)
    at = edit.get("at", ())
    globs = (at,) if isinstance(at, str) else tuple(at)
    expanded = {**edit, "at": list(expand_depth(globs, pathways))}
    if isinstance(edit.get("like"), Mapping):
        expanded["like"] = _expanded_edit(edit["like"], pathways)
    return expanded


def bind(
    design: Design, group: WorkGroup, store: Callable[[], ActivationSource]
) -> tuple[Intervention, ...]:
    """The group's interventions, sources paired with the group's own episodes.

    Args:
        design: already expanded for the policy.
        group: one of its groups.
        store: opens what the source arms recorded; called only where an edit reads it.
    """
    return tuple(
        parse_intervention(_bound(design, group, edit, store))
        for edit in group.definition.interventions
    )


def _bound(
    design: Design,
    group: WorkGroup,
    edit: Mapping[str, Any],
    store: Callable[[], ActivationSource],
) -> dict[str, Any]:
    bound = dict(edit)
    if isinstance(edit.get("like"), Mapping):
        bound["like"] = _bound(design, group, edit["like"], store)
    choice = source_of({"source": edit.get("source")})
    if choice is not None:
        bound["source"] = store()
        bound["pairs"] = {
            plan.episode: reference(design.study, choice, (plan.task, plan.seed)).episode
            for plan in group.plans
        }
    return bound
