"""Symbols of the figures as small pictures for a page's text."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from vlascope.comparison.report.drawings import Forest, is_null
from vlascope.comparison.report.styles import CONTROL_SYMBOLS, GREY, Look

__all__ = ["control_marks", "mark"]

_SHAPES: Final = {
    "circle": "M6 1.5a4.5 4.5 0 1 0 .01 0z",
    "square": "M2 2h8v8H2z",
    "diamond": "M6 .8L11.2 6 6 11.2.8 6z",
    "triangle-up": "M6 1.2l5.2 9.2H.8z",
    "triangle-down": "M6 10.8L.8 1.6h10.4z",
    "triangle-left": "M1.2 6l9.2-5.2v10.4z",
    "triangle-right": "M10.8 6L1.6 11.2V.8z",
    "pentagon": "M6 1l5 3.7-1.9 5.9H2.9L1 4.7z",
    "hexagon": "M6 .8l4.6 2.6v5.2L6 11.2 1.4 8.6V3.4z",
    "star": "M6 .6l1.5 3.7 4 .3-3 2.6.9 3.9L6 9l-3.4 2.1.9-3.9-3-2.6 4-.3z",
    "cross": "M4.2 1h3.6v3.2H11v3.6H7.8V11H4.2V7.8H1V4.2h3.2z",
    "x": "M3.3 1L6 3.7 8.7 1 11 3.3 8.3 6 11 8.7 8.7 11 6 8.3 3.3 11 1 8.7 3.7 6 1 3.3z",
    "x-thin": "M2 2l8 8M10 2l-8 8",
    "cross-thin": "M6 1v10M1 6h10",
}


def mark(look: Look) -> Markup:
    """An entry's symbol in its colour."""
    return _drawn(look.symbol.removesuffix("-open"), look.colour, hollow=look.open)


def control_marks(drawing: Forest) -> dict[str, Markup]:
    """The grey symbol of each control of a forest; a band for what is drawn at random."""
    shapes = [name.removesuffix("-open") for name, _ in CONTROL_SYMBOLS]
    found = {label: _BAND for label in drawing.controls if is_null(label)}
    for i, label in enumerate(drawing.marked):
        found[label] = _drawn(shapes[i % len(shapes)], GREY, hollow=True)
    return found


_BAND: Final = Markup(
    '<svg viewBox="0 0 12 12" aria-hidden="true"><path d="M0 3h12v6H0z" fill="{0}"'
    ' fill-opacity=".35"/><path d="M6 2v8" stroke="{0}" stroke-width="1.8"/></svg>'
).format(GREY)


def _drawn(shape: str, colour: str, *, hollow: bool) -> Markup:
    fill = "none" if hollow else colour
    return Markup(
        '<svg viewBox="0 0 12 12" aria-hidden="true"><path d="{}" fill="{}" stroke="{}"'
        ' stroke-width="1.5"/></svg>'
    ).format(_SHAPES[shape], fill, colour)
