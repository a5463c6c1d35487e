"""Drawings as files for papers, drawn by matplotlib: SVG and PNG, the same for the same numbers."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vlascope.comparison.report.drawings import Dots, Drawing, Forest, Heat, Profile
from vlascope.comparison.report.forest_rows import Line, below, placed
from vlascope.comparison.report.scales import dodged, of_unit, span, whiskers
from vlascope.comparison.report.styles import CONTROL_SYMBOLS, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["as_files"]

_New = Callable[[float, float], "Figure"]
"""Makes an empty figure, inches wide and high."""

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#777777",
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "svg.hashsalt": "vlascope",
    "figure.facecolor": "white",
}
_KINDS: dict[str, Any] = {"svg": {"metadata": {"Date": None}}, "png": {"dpi": 200}}
_BLANK: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
_WIDTH = 7.0
"""Inches of a page's text."""


def as_files(drawing: Drawing, entries: Mapping[str, Look]) -> dict[str, bytes]:
    """`{"svg": ..., "png": ...}`; the same drawing gives the same bytes."""
    with _drawing() as new:
        figure = _draw(drawing, entries, new)
        found = {}
        for kind, extra in _KINDS.items():
            file = io.BytesIO()
            figure.savefig(file, format=kind, bbox_inches="tight", pad_inches=0.06, **extra)
            found[kind] = file.getvalue()
    return found


@contextmanager
def _drawing() -> Iterator[_New]:
    """A maker of figures in this module's style, without a display."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def new(width: float, height: float) -> Figure:
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure

    with matplotlib.rc_context(_STYLE):
        yield new


def _draw(drawing: Drawing, entries: Mapping[str, Look], new: _New) -> Figure:
    if isinstance(drawing, Profile):
        return _profile(drawing, entries, new)
    if isinstance(drawing, Forest):
        return _forest(drawing, entries, new)
    return _dots(drawing, entries, new) if isinstance(drawing, Dots) else _heat(drawing, new)


def _profile(drawing: Profile, entries: Mapping[str, Look], new: _New) -> Figure:
    figure, axes = _panels(new, len(drawing.panels), 2.4)
    reach = span(
        [v for s in drawing.strands for v in s.values], drawing.unit, signed=drawing.signed
    )
    for ax, panel in zip(axes, drawing.panels, strict=False):
        for strand in (s for s in drawing.strands if s.panel == panel):
            look = entries[strand.entry]
            ax.errorbar(
                dodged(strand.at, strand.entry, list(entries)),
                [of_unit(v.value, drawing.unit) for v in strand.values],
                yerr=whiskers(strand.values, drawing.unit),
                linestyle=look.line,
                linewidth=1.2,
                elinewidth=0.7,
                **_mark(look),
            )
        ax.set(title=panel, xlabel="relative depth", xlim=(-0.05, 1.05), ylim=reach)
        if drawing.signed:
            ax.axhline(0, color="#777777", linewidth=0.8)
    axes[0].set_ylabel(drawing.axis)
    _key(figure, {s.entry for s in drawing.strands}, entries)
    return figure


def _forest(drawing: Forest, entries: Mapping[str, Look], new: _New) -> Figure:
    lines = placed(drawing)
    rows = [line for line in lines if line.row is not None]
    lowest = min(line.y for line in lines)
    figure = new(_WIDTH * 0.8, 0.9 + (0.3 if drawing.controls else 0.21) * (1 - lowest))
    ax = figure.subplots()
    values = [line.row.value for line in rows if line.row and line.row.entry]
    values += [c.value for line in rows if line.row for c in line.row.controls]
    for line in lines:
        _forest_line(ax, line, drawing, entries)
    ax.set(
        xlabel=drawing.axis,
        xlim=span(values, drawing.unit, signed=drawing.signed),
        ylim=(lowest - 0.7, 0.8),
        yticks=[line.y for line in rows],
        yticklabels=[line.row.label for line in rows if line.row],
    )
    ax.axvline(0, color="#777777", linewidth=0.8, zorder=1)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    if drawing.controls:
        from matplotlib.lines import Line2D

        grey: dict[str, Any] = {"linestyle": "", "color": "#8a8f98", "markerfacecolor": "white"}
        marks = [
            Line2D([], [], marker=CONTROL_SYMBOLS[i % len(CONTROL_SYMBOLS)][1], label=c, **grey)
            for i, c in enumerate(drawing.controls)
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _forest_line(ax: Axes, line: Line, drawing: Forest, entries: Mapping[str, Look]) -> None:
    row, unit = line.row, drawing.unit
    beside = ax.get_yaxis_transform()
    if row is None:
        ax.text(
            0.0, line.y, line.heading, transform=beside, va="center", weight="bold", bbox=_BLANK
        )
        return
    for control in row.controls:
        index = drawing.controls.index(control.label)
        ax.errorbar(
            of_unit(control.value.value, unit),
            line.y - below(index, drawing),
            xerr=[[side[0]] for side in whiskers([control.value], unit)],
            fmt=CONTROL_SYMBOLS[index % len(CONTROL_SYMBOLS)][1],
            color="#8a8f98",
            markersize=3.5,
            markerfacecolor="white",
            elinewidth=0.7,
        )
    if row.spread is not None:
        ax.plot([of_unit(v, unit) for v in row.spread], [line.y] * 2, ":", color="k", linewidth=1)
    how = _mark(entries[row.entry]) if row.entry else {"fmt": "d", "color": "k", "markersize": 8}
    ax.errorbar(
        of_unit(row.value.value, unit),
        line.y,
        xerr=[[side[0]] for side in whiskers([row.value], unit)],
        elinewidth=1.2,
        **how,
    )
    ax.text(
        1.01,
        line.y,
        f"{'n' if row.entry else 'k'} = {row.value.n}",
        transform=beside,
        va="center",
        fontsize=7,
    )


def _dots(drawing: Dots, entries: Mapping[str, Look], new: _New) -> Figure:
    figure, axes = _panels(new, len(drawing.panels), 2.6)
    wide = span([d.x for d in drawing.dots], drawing.x_unit, signed=False)
    high = span([d.y for d in drawing.dots], drawing.unit, signed=drawing.signed)
    for ax, panel in zip(axes, drawing.panels, strict=False):
        for dot in (d for d in drawing.dots if d.panel == panel):
            bars = [[side[0]] for side in whiskers([dot.y], drawing.unit)]
            x, y = of_unit(dot.x.value, drawing.x_unit), of_unit(dot.y.value, drawing.unit)
            ax.errorbar(x, y, yerr=bars, elinewidth=0.9, **_mark(entries[dot.entry]))
        ax.set(title=panel, xlabel=drawing.x_axis, xlim=wide, ylim=high)
    axes[0].set_ylabel(drawing.y_axis)
    _key(figure, {d.entry for d in drawing.dots}, entries)
    return figure


def _heat(drawing: Heat, new: _New) -> Figure:
    tallest = max(len(p.rows) for p in drawing.panels)
    figure, axes = _panels(new, len(drawing.panels), 0.9 + 0.2 * tallest, across=2)
    cells = [c for p in drawing.panels for row in p.cells for c in row if c is not None]
    low, high = span(cells, drawing.unit, signed=drawing.signed, bare=True)
    bar = None
    for ax, panel in zip(axes, drawing.panels, strict=False):
        shown = [
            [math.nan if c is None else of_unit(c.value, drawing.unit) for c in row]
            for row in panel.cells
        ]
        colours = "RdBu" if drawing.signed else "cividis"
        image = ax.imshow(shown, cmap=colours, vmin=low, vmax=high, aspect="auto")
        bar = bar or figure.colorbar(image, ax=list(axes), label=drawing.axis, shrink=0.8)
        ax.set(title=panel.title, xlabel="relative depth")
        ax.set_yticks(range(len(panel.rows)), panel.rows)
        ax.set_xticks(range(len(panel.columns)), [f"{at:.2f}" for at in panel.columns])
        ax.grid(visible=False)
    return figure


def _panels(new: _New, count: int, height: float, across: int = 3) -> tuple[Figure, Sequence[Axes]]:
    columns = min(count, across)
    down = math.ceil(count / columns)
    width = _WIDTH if columns > 1 else _WIDTH * 0.6
    figure = new(width, height * down + 0.5)
    axes = list(figure.subplots(down, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes


def _mark(look: Look) -> dict[str, Any]:
    return {
        "color": look.colour,
        "marker": look.marker,
        "markersize": 5,
        "markerfacecolor": "white" if look.open else look.colour,
    }


def _key(figure: Figure, shown: set[str], entries: Mapping[str, Look]) -> None:
    """Which symbol is whose, below the panels."""
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], label=entry, **{"linestyle": look.line, **_mark(look)})
        for entry, look in entries.items()
        if entry in shown
    ]
    columns = min(len(marks), 5)
    figure.legend(handles=marks, loc="outside lower center", ncols=columns, frameon=False)
