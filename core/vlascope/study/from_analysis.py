"""Edits that a study cannot write out, because an analysis of its own episodes finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from vlascope.errors import EditUnavailable, unknown_name

if TYPE_CHECKING:
    from vlascope.study.analysis import AnalysisResult

__all__ = ["FROM_ANALYSIS", "FROM_ANALYSIS_KEYS", "analyses_of", "resolved"]

FROM_ANALYSIS: Final = "from_analysis"
"""`{kind: from_analysis, analysis: NAME, key: KEY}`; `with` sets fields of the edits it stands for,
`role` turns them into that control."""
FROM_ANALYSIS_KEYS: Final = ("kind", "analysis", "key", "with", "role")


def analyses_of(edits: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The analyses that these edits come from, each once."""
    named = [str(edit["analysis"]) for edit in edits if edit.get("kind") == FROM_ANALYSIS]
    return tuple(dict.fromkeys(named))


def resolved(
    edits: Sequence[Mapping[str, Any]], results: Mapping[str, AnalysisResult]
) -> tuple[dict[str, Any], ...]:
    """The edits with every reference replaced by what the analysis found.

    Raises:
        EditUnavailable: an analysis found nothing under a key, or makes no such control.
    """
    return tuple(found for edit in edits for found in _resolved(edit, results))


def _resolved(
    edit: Mapping[str, Any], results: Mapping[str, AnalysisResult]
) -> tuple[dict[str, Any], ...]:
    if edit.get("kind") != FROM_ANALYSIS:
        return (dict(edit),)
    name, key = str(edit["analysis"]), str(edit["key"])
    known = results[name].edits
    if not known:
        raise EditUnavailable(f"analysis {name} found nothing to edit, so there is no {key!r}")
    if key not in known:
        raise EditUnavailable(f"analysis {name}: {unknown_name('edit', key, known)}")
    found = tuple({**plain, **edit.get("with", {})} for plain in known[key])
    role = edit.get("role")
    return found if role is None else tuple(_control(str(role), plain, name) for plain in found)


def _control(role: str, edit: dict[str, Any], analysis: str) -> dict[str, Any]:
    from vlascope.study.controls import control_of

    made = control_of(role, edit)
    if made is None:
        raise EditUnavailable(
            f"analysis {analysis}: a {edit['kind']} edit makes no {role} control; name an arm for "
            "that role instead of `auto`"
        )
    return made
