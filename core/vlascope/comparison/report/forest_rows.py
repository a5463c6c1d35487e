"""Where the rows of a forest stand: headings above their groups, upright positions downwards."""

from __future__ import annotations

from dataclasses import dataclass

from vlascope.comparison.report.drawings import Forest, ForestRow

__all__ = ["Line", "placed"]


@dataclass(frozen=True)
class Line:
    """A row at a height, or a heading where `row` is None."""

    y: float
    heading: str
    row: ForestRow | None = None


def placed(drawing: Forest) -> tuple[Line, ...]:
    """Rows in their order, a heading wherever the group changes; the first at 0, each 1 lower."""
    found: list[Line] = []
    heading, y = "", 0.0
    for row in drawing.rows:
        if row.group != heading:
            heading = row.group
            y -= 0.35 if found else 0.0
            found.append(Line(y, heading))
            y -= 1.0
        found.append(Line(y, heading, row))
        y -= 1.0
    return tuple(found)
