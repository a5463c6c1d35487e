"""Whether a policy has the places that an arm names, and what they are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vlascope.errors import UnknownName
from vlascope.interventions import Identity, parse_intervention
from vlascope.recording import ActivationCache, RecordSpec
from vlascope.study.depth import expand_depth
from vlascope.study.editing import expanded_for
from vlascope.study.from_analysis import FROM_ANALYSIS
from vlascope.study.groups import WorkGroup

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter

__all__ = ["edited_points", "hooked_where_possible", "placed"]


def placed(group: WorkGroup, adapter: VLAAdapter) -> WorkGroup:
    """The group with this policy's own layers named, and without recordings it cannot make.

    Raises:
        UnknownName: the policy has no such hook point or depth third.
        IncompatibleError: an edit does not suit the policy.
    """
    own = _recording_what_is_there(expanded_for(group, adapter.info.pathways), adapter)
    edited_points(own, adapter)
    return own


def hooked_where_possible(
    group: WorkGroup, adapter: VLAAdapter
) -> tuple[WorkGroup, dict[str, str]]:
    """The group with its identity edits at the places that the policy has, if it has any of them.

    Such a control hooks every place of a question at once. A place that the policy lacks costs the
    arms that edit it; the control of the others stays.

    Returns:
        The group, itself where nothing is left out; and why, by what is left out.
    """
    left_out: dict[str, str] = {}
    edits = tuple(
        _at_what_is_there(edit, adapter, left_out) if edit["kind"] == Identity.kind else edit
        for edit in group.definition.interventions
    )
    if not left_out:
        return group, {}
    definition = group.definition.model_copy(update={"interventions": edits})
    return replace(group, definition=definition), left_out


def _at_what_is_there(
    edit: Mapping[str, Any], adapter: VLAAdapter, left_out: dict[str, str]
) -> Mapping[str, Any]:
    globs = [edit["at"]] if isinstance(edit["at"], str) else list(edit["at"])
    refused = {glob: why for glob in globs if (why := _why_absent(glob, adapter))}
    if not refused or len(refused) == len(globs):
        return edit
    left_out.update(refused)
    return {**edit, "at": [glob for glob in globs if glob not in refused]}


def _why_absent(glob: str, adapter: VLAAdapter) -> str:
    """Why a glob, of a depth third perhaps, names nothing in a policy; empty where it does."""
    try:
        adapter.match(expand_depth((glob,), adapter.info.pathways))
    except UnknownName as error:
        return str(error)
    return ""


def edited_points(group: WorkGroup, adapter: VLAAdapter) -> list[list[str]]:
    """The hook points of every edit that is known by now; each edit has its say on them."""
    found = []
    for edit in group.definition.interventions:
        if edit["kind"] == FROM_ANALYSIS:
            continue
        points = adapter.match(edit["at"])
        parse_intervention(_without_source(edit)).check(adapter.info, points)
        found.append([str(p) for p in points])
    return found


def _without_source(edit: Mapping[str, Any]) -> dict[str, Any]:
    """The edit with nothing recorded yet, to be asked whether it suits the policy."""
    found = dict(edit)
    if isinstance(edit.get("source"), Mapping) and "arm" in edit["source"]:
        found["source"] = ActivationCache({})
    if isinstance(edit.get("like"), Mapping):
        found["like"] = _without_source(edit["like"])
    return found


def _recording_what_is_there(group: WorkGroup, adapter: VLAAdapter) -> WorkGroup:
    """The group without the globs to record that another policy's hook points go by.

    Raises:
        UnknownName: the policy has none of them.
    """
    if group.record is None:
        return group
    there = tuple(g for g in group.record.at if not _why_absent(g, adapter)) or group.record.at
    adapter.match(there)
    record = RecordSpec.model_validate({**group.record.model_dump(), "at": there})
    return replace(group, record=record)
