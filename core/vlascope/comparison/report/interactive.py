"""Drawings as plotly figures in plain data, a figure per panel so that a page may stack them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlascope.comparison.report.drawings import (
    Dot,
    Dots,
    Drawing,
    Forest,
    Heat,
    HeatPanel,
    Profile,
    Strand,
    trails,
)
from vlascope.comparison.report.interactive_forest import forest
from vlascope.comparison.report.scales import (
    ASIDE,
    dodged,
    of_unit,
    printed,
    rounded,
    span,
    whiskers,
    widened,
)
from vlascope.comparison.report.styles import Look
from vlascope.comparison.report.traces import Panel, bars, marks
from vlascope.report.wording import interval

__all__ = ["Panel", "interactive"]

_MARGIN = {"l": 52, "r": 12, "t": 28, "b": 46}


def interactive(drawing: Drawing, entries: Mapping[str, Look]) -> tuple[Panel, ...]:
    """The panels of a drawing, in order; entries are named in the trace's `legendgroup`."""
    if isinstance(drawing, Profile):
        return _profile(drawing, entries)
    if isinstance(drawing, Forest):
        return forest(drawing, entries)
    return _dots(drawing, entries) if isinstance(drawing, Dots) else _heat(drawing)


def _profile(drawing: Profile, entries: Mapping[str, Look]) -> tuple[Panel, ...]:
    everything = [v for s in drawing.strands for v in s.values]
    reach = span(everything, drawing.unit, signed=drawing.signed)
    panels = []
    for panel in drawing.panels:
        strands = [s for s in drawing.strands if s.panel == panel]
        layout = {
            "height": 320,
            "margin": _MARGIN,
            "showlegend": False,
            "xaxis": {"title": {"text": "relative depth"}, "range": [-0.06, 1.06], "dtick": 0.25},
            "yaxis": {"title": {"text": drawing.axis}, "range": reach, "zeroline": drawing.signed},
        }
        traces = [_line(s, drawing, entries) for s in strands]
        panels.append((panel, {"data": traces, "layout": layout}))
    return tuple(panels)


def _line(strand: Strand, drawing: Profile, entries: Mapping[str, Look]) -> dict[str, Any]:
    look = entries[strand.entry]
    values = [rounded(of_unit(v.value, drawing.unit)) for v in strand.values]
    places = dodged(strand.at, strand.entry, list(entries))
    return {
        **marks(strand.entry, look, 8),
        "mode": "lines+markers",
        "line": {"color": look.colour, "dash": look.dash, "width": 1.8},
        "x": [rounded(x) for x in places],
        "y": values,
        "error_y": bars(whiskers(strand.values, drawing.unit), 1.0),
        "customdata": [
            f"at {at:.2f}<br>{printed(v, drawing)}"
            for at, v in zip(strand.at, strand.values, strict=True)
        ],
        "hovertemplate": f"{strand.entry} %{{customdata}}<extra></extra>",
    }


def _dots(drawing: Dots, entries: Mapping[str, Look]) -> tuple[Panel, ...]:
    wide = span([d.x for d in drawing.dots], drawing.x_unit, signed=False)
    high = span([d.y for d in drawing.dots], drawing.unit, signed=drawing.signed)
    panels = []
    for panel in drawing.panels:
        here = trails(drawing, panel)
        traces = [_trail(entry, here, drawing, entries[entry], wide[1] - wide[0]) for entry in here]
        layout = {
            "height": 340,
            "margin": _MARGIN,
            "showlegend": False,
            "xaxis": {"title": {"text": drawing.x_axis}, "range": widened(wide)},
            "yaxis": {"title": {"text": drawing.y_axis}, "range": high},
        }
        panels.append((panel, {"data": traces, "layout": layout}))
    return tuple(panels)


def _trail(
    entry: str, here: Mapping[str, Sequence[Dot]], drawing: Dots, look: Look, length: float
) -> dict[str, Any]:
    """An entry's points in a panel, moved aside of the others there."""
    dots = here[entry]
    short = drawing.x_axis.partition(":")[0]
    xs = [of_unit(d.x.value, drawing.x_unit) for d in dots]
    return {
        **marks(entry, look, 9),
        "mode": "lines+markers",
        "line": {"color": look.colour, "dash": look.dash, "width": 1.4},
        "x": [rounded(x) for x in dodged(xs, entry, list(here), ASIDE * length)],
        "y": [rounded(of_unit(d.y.value, drawing.unit)) for d in dots],
        "error_y": bars(whiskers([d.y for d in dots], drawing.unit), 1.2),
        "customdata": [
            f"{d.label}<br>{short} {interval(d.x, drawing.x_unit)}<br>{printed(d.y, drawing)}"
            for d in dots
        ],
        "hovertemplate": f"{entry}, %{{customdata}}<extra></extra>",
    }


def _heat(drawing: Heat) -> tuple[Panel, ...]:
    values = [c for p in drawing.panels for row in p.cells for c in row if c is not None]
    reach = span(values, drawing.unit, signed=drawing.signed, bare=True)
    return tuple((p.title, _map(p, drawing, reach)) for p in drawing.panels)


def _map(panel: HeatPanel, drawing: Heat, reach: list[float]) -> dict[str, Any]:
    columns = [f"{at:.2f}" for at in panel.columns]
    return {
        "data": [
            {
                "type": "heatmap",
                "z": [
                    [None if c is None else rounded(of_unit(c.value, drawing.unit)) for c in row]
                    for row in panel.cells
                ],
                "x": columns,
                "y": list(panel.rows),
                "customdata": [
                    ["not measured" if c is None else printed(c, drawing) for c in row]
                    for row in panel.cells
                ],
                "zmin": reach[0],
                "zmax": reach[1],
                "colorscale": "RdBu" if drawing.signed else "Cividis",
                "colorbar": {"thickness": 10, "outlinewidth": 0, "title": {"text": drawing.axis}},
                "xgap": 1,
                "ygap": 1,
                "hovertemplate": "%{y} at %{x}<br>%{customdata}<extra></extra>",
            }
        ],
        "layout": {
            "height": 130 + 24 * len(panel.rows),
            "margin": {"l": 10, "r": 10, "t": 28, "b": 46},
            "xaxis": {"title": {"text": "relative depth"}, "type": "category", "showgrid": False},
            "yaxis": {
                "automargin": True,
                "autorange": "reversed",
                "showgrid": False,
                "ticksuffix": " ",
            },
        },
    }
