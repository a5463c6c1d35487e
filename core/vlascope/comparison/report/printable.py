"""Drawings as files for papers, drawn by matplotlib: SVG and PNG, the same for the same numbers."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vlascope.comparison.report.drawings import Dots, Drawing, Forest, Heat, Profile, trails
from vlascope.comparison.report.printable_forest import WIDTH, New, forest, symbol
from vlascope.comparison.report.scales import ASIDE, dodged, of_unit, span, whiskers, widened
from vlascope.comparison.report.styles import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["as_files"]

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


def as_files(drawing: Drawing, entries: Mapping[str, Look]) -> dict[str, bytes]:
    """`{"svg": ..., "png": ...}`; the same drawing gives the same bytes."""
    with _drawing() as new:
        figure = _draw(drawing, entries, new)
        found = {}
        for kind, extra in _KINDS.items():
            file = io.BytesIO()
            figure.savefig(file, format=kind, **extra)
            figure.set_layout_engine("none")  # laid out once; it takes longer than drawing
            found[kind] = file.getvalue()
    return found


@contextmanager
def _drawing() -> Iterator[New]:
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


def _draw(drawing: Drawing, entries: Mapping[str, Look], new: New) -> Figure:
    if isinstance(drawing, Profile):
        return _profile(drawing, entries, new)
    if isinstance(drawing, Forest):
        return forest(drawing, entries, new)
    return _dots(drawing, entries, new) if isinstance(drawing, Dots) else _heat(drawing, new)


def _profile(drawing: Profile, entries: Mapping[str, Look], new: New) -> Figure:
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
                **symbol(look),
            )
        ax.set(title=panel, xlim=(-0.06, 1.06), ylim=reach)
        if drawing.signed:
            ax.axhline(0, color="#777777", linewidth=0.8)
    figure.supxlabel("relative depth", fontsize=8)
    axes[0].set_ylabel(drawing.axis)
    _key(figure, {s.entry for s in drawing.strands}, entries)
    return figure


def _dots(drawing: Dots, entries: Mapping[str, Look], new: New) -> Figure:
    figure, axes = _panels(new, len(drawing.panels), 2.6)
    wide = span([d.x for d in drawing.dots], drawing.x_unit, signed=False)
    high = span([d.y for d in drawing.dots], drawing.unit, signed=drawing.signed)
    for ax, panel in zip(axes, drawing.panels, strict=False):
        here = trails(drawing, panel)
        for entry, dots in here.items():
            xs = [of_unit(d.x.value, drawing.x_unit) for d in dots]
            ax.errorbar(
                dodged(xs, entry, list(here), ASIDE * (wide[1] - wide[0])),
                [of_unit(d.y.value, drawing.unit) for d in dots],
                yerr=whiskers([d.y for d in dots], drawing.unit),
                linestyle=entries[entry].line,
                linewidth=1,
                elinewidth=0.8,
                **symbol(entries[entry]),
            )
        ax.set(title=panel, xlim=widened(wide), ylim=high)
    figure.supxlabel(drawing.x_axis, fontsize=8)
    axes[0].set_ylabel(drawing.y_axis)
    _key(figure, {d.entry for d in drawing.dots}, entries)
    return figure


def _heat(drawing: Heat, new: New) -> Figure:
    tallest = max(len(p.rows) for p in drawing.panels)
    figure, axes = _panels(new, len(drawing.panels), 0.9 + 0.2 * tallest, across=2, same=False)
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


def _panels(
    new: New, count: int, height: float, across: int = 3, *, same: bool = True
) -> tuple[Figure, Sequence[Axes]]:
    """Panels in rows; `same` where they share their axes, whose numbers stand at the rim alone."""
    columns = min(count, across)
    down = math.ceil(count / columns)
    width = WIDTH if columns > 1 else WIDTH * 0.6
    figure = new(width, height * down + 0.5)
    grid = figure.subplots(down, columns, squeeze=False, sharex=same, sharey=same)
    axes = list(grid.flat)
    for ax in axes[count:]:
        ax.set_visible(False)
    for ax in axes[max(0, count - columns) : count] if same else ():
        ax.xaxis.set_tick_params(labelbottom=True)
    return figure, axes


def _key(figure: Figure, shown: set[str], entries: Mapping[str, Look]) -> None:
    """Which symbol is whose, below the panels."""
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], label=entry, **{"linestyle": look.line, **symbol(look)})
        for entry, look in entries.items()
        if entry in shown
    ]
    columns = min(len(marks), 5)
    figure.legend(handles=marks, loc="outside lower center", ncols=columns, frameon=False)
