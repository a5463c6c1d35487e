"""Do the subspaces that injections go through lie alike at different hook points?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from vlascope.directions import Subspace, load_directions
from vlascope.errors import VlascopeError
from vlascope.sections import Table
from vlascope.study.analysis import AnalysisResult
from vlascope.subspaces import separability

__all__ = ["angle_table"]

Row = tuple[str | int | float | None, ...]


def angle_table(results: Mapping[str, AnalysisResult]) -> tuple[Table | None, list[str]]:
    """Every pair of hook points, at the largest dimension both have; and pairs without angles.

    Args:
        results: of `difference_subspaces`, by the analysis' name.
    """
    found = {str(r.data["at"]): _subspaces(r) for r in results.values() if r.data.get("rows")}
    rows: list[Row] = []
    without: list[str] = []
    for a, b in combinations(found, 2):
        shared = sorted(found[a].keys() & found[b].keys())
        if not shared:
            without.append(f"No angle between {a} and {b}: no dimension in common to compare at.")
            continue
        first, second = found[a][shared[-1]], found[b][shared[-1]]
        if first.width != second.width:
            without.append(
                f"No angle between {a} ({first.width} wide) and {b} ({second.width} wide): they "
                "are subspaces of different spaces."
            )
            continue
        rows.append(_row(a, b, first, second))
    return (_table(rows) if rows else None), without


def _row(a: str, b: str, first: Subspace, second: Subspace) -> Row:
    s = separability(first, second)
    null = f"{s.null_mean:.3f} [{s.null_low:.3f}, {s.null_high:.3f}]"
    angles = min(s.angles), max(s.angles)
    return (f"{a} / {b}", len(first.basis), *angles, s.score, null, s.p, s.verdict)


def _table(rows: list[Row]) -> Table:
    return Table(
        title="Principal angles between the subspaces of different places",
        caption=(
            "Separability: mean of sin² over the principal angles, 0 for one within the other, 1 "
            "for orthogonal, beside the mean and central 95% of 999 random subspaces of the same "
            "dimension; p two-sided. Different pathways may use different coordinates: there, "
            "`as random` says that they share none by name, not that they hold different things."
        ),
        columns=(
            "places", "dimension", "smallest (°)", "largest (°)", "separability", "random", "p",
            "verdict",
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _subspaces(result: AnalysisResult) -> dict[int, Subspace]:
    """By dimension; empty where the file is gone."""
    found = {}
    for edits in result.edits.values():
        basis = edits[0]["basis"]
        try:
            subspace = load_directions(basis["file"]).subspace(basis["name"])
        except VlascopeError:
            continue
        found[len(subspace.basis)] = subspace
    return found
