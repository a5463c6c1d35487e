"""Parts of plotly's traces: an entry's symbol, and bars for intervals."""

from __future__ import annotations

from typing import Any

from vlascope.comparison.report.scales import rounded
from vlascope.comparison.report.styles import Look

__all__ = ["Panel", "bars", "marks"]

Panel = tuple[str, dict[str, Any]]
"""A title and `{"data": [...], "layout": {...}}`."""


def marks(entry: str, look: Look, size: int) -> dict[str, Any]:
    """How an entry is drawn; `legendgroup` names it."""
    marker = {"symbol": look.symbol, "size": size, "color": look.colour, "line": {"width": 2}}
    if not look.open:
        marker["line"] = {"width": 0}
    return {"type": "scatter", "name": entry, "legendgroup": entry, "marker": marker}


def bars(found: tuple[list[float], list[float]], thickness: float) -> dict[str, Any]:
    """Intervals below and above, thickness in pixels."""
    below, above = found
    return {
        "type": "data",
        "symmetric": False,
        "array": [rounded(x) for x in above],
        "arrayminus": [rounded(x) for x in below],
        "thickness": thickness,
        "width": 0,
    }
