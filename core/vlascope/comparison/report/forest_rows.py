"""Where the rows of a forest stand: headings above their groups, upright positions downwards."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

from vlascope.comparison.report.drawings import Forest, ForestRow

__all__ = ["BAND", "Line", "below", "placed"]

WIDEST = 32
"""Letters of a heading's line, so that a narrow screen shows them all."""


@dataclass(frozen=True)
class Line:
    """A row at a height, or a heading where `row` is None; long headings have line breaks."""

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
            told = wrap(heading, WIDEST)
            y -= (0.35 if found else 0.0) + 0.3 * (len(told) - 1)
            found.append(Line(y, "\n".join(told)))
            y -= 1.0 + 0.3 * (len(told) - 1)
        found.append(Line(y, heading, row))
        y -= 1.0
    return tuple(found)


BAND = 0.27
"""Half the height of a band, in rows."""


def below(label: str, drawing: Forest) -> float:
    """How far under its row a control's mark stands: clear of the row's band and the next row's."""
    share = (drawing.marked.index(label) + 1) / (len(drawing.marked) + 1)
    if len(drawing.marked) == len(drawing.controls):
        return 0.56 * share
    return BAND + (1 - 2 * BAND) * share
