"""A forest as a file's figure: rows below one another, what chance would do as bands behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vlascope.comparison.report.drawings import Forest, ForestRow
from vlascope.comparison.report.forest_rows import BAND, Line, below, placed
from vlascope.comparison.report.scales import of_unit, span, whiskers
from vlascope.comparison.report.styles import CONTROL_SYMBOLS, GREY, Look
from vlascope.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["WIDTH", "New", "forest", "symbol"]

New = Callable[[float, float], "Figure"]
"""Makes an empty figure, inches wide and high."""

WIDTH = 7.0
"""Inches of a page's text."""
_BLANK: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}


def forest(drawing: Forest, entries: Mapping[str, Look], new: New) -> Figure:
    """Its figure; as high as its rows need."""
    lines = placed(drawing)
    rows = [(line.y, line.row) for line in lines if line.row is not None]
    lowest = min(line.y for line in lines)
    figure = new(WIDTH * 0.8, 0.9 + (0.3 if drawing.controls else 0.21) * (1 - lowest))
    ax = figure.subplots()
    values = [row.value for _, row in rows if row.entry]
    values += [c.value for _, row in rows for c in row.controls]
    for line in lines:
        if line.row is None:
            _heading(ax, line)
    for label in drawing.controls:
        _control(ax, label, rows, drawing)
    for y, row in rows:
        _row(ax, y, row, drawing.unit, entries)
    ax.set(
        xlabel=drawing.axis,
        xlim=span(values, drawing.unit, signed=drawing.signed),
        ylim=(lowest - 0.7, 0.8),
        yticks=[y for y, _ in rows],
        yticklabels=[row.label for _, row in rows],
    )
    ax.axvline(0, color="#777777", linewidth=0.8, zorder=1)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    if drawing.controls:
        handles = [_in_key(label, drawing) for label in drawing.controls]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def symbol(look: Look) -> dict[str, Any]:
    """An entry's mark, in matplotlib's words."""
    return {
        "color": look.colour,
        "marker": look.marker,
        "markersize": 5,
        "markerfacecolor": "white" if look.open else look.colour,
    }


def _heading(ax: Axes, line: Line) -> None:
    beside = ax.get_yaxis_transform()
    ax.text(0.0, line.y, line.heading, transform=beside, va="center", weight="bold", bbox=_BLANK)


def _row(ax: Axes, y: float, row: ForestRow, unit: str, entries: Mapping[str, Look]) -> None:
    if row.spread is not None:
        ax.plot([of_unit(v, unit) for v in row.spread], [y] * 2, ":", color="k", linewidth=1)
    how = symbol(entries[row.entry]) if row.entry else {"fmt": "d", "color": "k", "markersize": 8}
    bars = whiskers([row.value], unit)
    ax.errorbar([of_unit(row.value.value, unit)], [y], xerr=bars, elinewidth=1.4, zorder=4, **how)
    told = f"{'n' if row.entry else 'k'} = {row.value.n}"
    ax.text(1.01, y, told, transform=ax.get_yaxis_transform(), va="center", fontsize=7)


def _control(ax: Axes, label: str, rows: list[tuple[float, ForestRow]], drawing: Forest) -> None:
    """One control of every row that has it: a band about the row, or a mark below it."""
    found = list(_values(label, rows))
    values = [v for _, v in found]
    low, high = whiskers(values, drawing.unit)
    at = [of_unit(v.value, drawing.unit) for v in values]
    if label in drawing.marked:
        ys = [y - below(label, drawing) for y, _ in found]
        ax.errorbar(at, ys, xerr=(low, high), **_grey(label, drawing), elinewidth=0.7)
        return
    left, wide = (
        [x - a for x, a in zip(at, low, strict=True)],
        [a + b for a, b in zip(low, high, strict=True)],
    )
    ys = [y for y, _ in found]
    ax.barh(ys, wide, 2 * BAND, left, color=GREY, alpha=0.3, linewidth=0, zorder=1.5)
    ax.plot(at, ys, linestyle="", marker="|", markersize=9, color=GREY, markeredgewidth=1.4)


def _values(label: str, rows: list[tuple[float, ForestRow]]) -> Iterator[tuple[float, Estimate]]:
    for y, row in rows:
        for control in row.controls:
            if control.label == label:
                yield y, control.value


def _grey(label: str, drawing: Forest) -> dict[str, Any]:
    """The mark of a control, in matplotlib's words."""
    marker = CONTROL_SYMBOLS[drawing.marked.index(label) % len(CONTROL_SYMBOLS)][1]
    more = {"markersize": 3.5, "markerfacecolor": "white"}
    return {"linestyle": "", "color": GREY, "marker": marker, **more}


def _in_key(label: str, drawing: Forest) -> Any:
    """Its line of the key below the figure."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if label in drawing.marked:
        return Line2D([], [], label=label, **_grey(label, drawing))
    return Patch(facecolor=GREY, alpha=0.3, label=label)
