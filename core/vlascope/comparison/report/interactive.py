"""Drawings as plotly figures in plain data, a figure per panel so that a page may stack them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from vlascope.comparison.report.drawings import Dots, Forest, Heat, HeatPanel, Profile, Strand
from vlascope.comparison.report.forest_rows import Line, placed
from vlascope.comparison.report.scales import of_unit, printed, span, whiskers
from vlascope.comparison.report.styles import Look
from vlascope.report.wording import interval

__all__ = ["Panel", "interactive"]

Panel = tuple[str, dict[str, Any]]
"""A title and `{"data": [...], "layout": {...}}`."""
_MARGIN = {"l": 52, "r": 12, "t": 8, "b": 46}
_BAND = "rgba(127,127,127,0.25)"


@singledispatch
def interactive(drawing: object, entries: Mapping[str, Look]) -> tuple[Panel, ...]:
    """The panels of a drawing, in order; entries are named in the trace's `legendgroup`."""
    raise TypeError(f"{type(drawing).__name__} is no drawing")


@interactive.register
def _profile(drawing: Profile, entries: Mapping[str, Look]) -> tuple[Panel, ...]:
    everything = [v for s in drawing.strands for v in s.values]
    reach = span(everything, drawing.unit, signed=drawing.signed)
    panels = []
    for panel in drawing.panels:
        strands = [s for s in drawing.strands if s.panel == panel]
        layout = {
            "height": 300,
            "margin": _MARGIN,
            "showlegend": False,
            "xaxis": {"title": {"text": "relative depth"}, "range": [-0.06, 1.06], "dtick": 0.25},
            "yaxis": {"title": {"text": drawing.axis}, "range": reach, "zeroline": drawing.signed},
        }
        traces = [_line(s, drawing, entries[s.entry]) for s in strands]
        panels.append((panel, {"data": traces, "layout": layout}))
    return tuple(panels)


def _line(strand: Strand, drawing: Profile, look: Look) -> dict[str, Any]:
    values = [of_unit(v.value, drawing.unit) for v in strand.values]
    return {
        **_marks(strand.entry, look, 8),
        "mode": "lines+markers",
        "line": {"color": look.colour, "dash": look.dash, "width": 1.8},
        "x": list(strand.at),
        "y": values,
        "error_y": _bars(whiskers(strand.values, drawing.unit), 1.0),
        "customdata": [printed(v, drawing) for v in strand.values],
        "hovertemplate": f"{strand.entry} at %{{x:.2f}}<br>%{{customdata}}<extra></extra>",
    }


@interactive.register
def _forest(drawing: Forest, entries: Mapping[str, Look]) -> tuple[Panel, ...]:
    lines = placed(drawing)
    values = [line.row.value for line in lines if line.row is not None]
    values += [line.row.control for line in lines if line.row is not None and line.row.control]
    lowest = min(line.y for line in lines)
    layout: dict[str, Any] = {
        "height": 86 + round(23 * (1 - lowest)),
        "margin": {"l": 10, "r": 44, "t": 22, "b": 46},
        "showlegend": False,
        "xaxis": {
            "title": {"text": drawing.axis},
            "range": span(values, drawing.unit, signed=drawing.signed),
            "zeroline": True,
            "zerolinewidth": 2,
        },
        "yaxis": {
            "automargin": True,
            "tickvals": [line.y for line in lines if line.row is not None],
            "ticktext": [f"{line.row.label}  " for line in lines if line.row is not None],
            "range": [lowest - 0.7, 0.7],
            "showgrid": False,
            "zeroline": False,
        },
        "shapes": [_band(line, drawing.unit) for line in lines if line.row and line.row.control],
        "annotations": [*_headings(lines), *_counts(lines)],
    }
    traces = [_mark(line, drawing, entries) for line in lines if line.row is not None]
    return ((drawing.title, {"data": traces, "layout": layout}),)


def _mark(line: Line, drawing: Forest, entries: Mapping[str, Look]) -> dict[str, Any]:
    row = line.row
    assert row is not None
    kind = _marks(row.entry, entries[row.entry], 9) if row.entry else _POOLED
    told = printed(row.value, drawing)
    if row.control is not None:
        told += f"<br>{drawing.control or 'control'}: {printed(row.control, drawing)}"
    if row.spread is not None:
        low, high = (of_unit(v, drawing.unit) for v in row.spread)
        told += f"<br>another architecture is expected in [{low:.2f}, {high:.2f}]"
    return {
        **kind,
        "mode": "markers",
        "x": [of_unit(row.value.value, drawing.unit)],
        "y": [line.y],
        "error_x": _bars(whiskers([row.value], drawing.unit), 1.6 if row.entry else 2.6),
        "customdata": [told],
        "hovertemplate": f"{line.heading or ''} {row.label}<br>%{{customdata}}<extra></extra>",
    }


def _band(line: Line, unit: str) -> dict[str, Any]:
    assert line.row is not None
    control = line.row.control
    assert control is not None
    low = control.low if control.low is not None else control.value
    high = control.high if control.high is not None else control.value
    return {
        "type": "rect",
        "layer": "below",
        "x0": of_unit(low, unit),
        "x1": of_unit(high, unit),
        "y0": line.y - 0.36,
        "y1": line.y + 0.36,
        "fillcolor": _BAND,
        "line": {"width": 0},
    }


def _headings(lines: tuple[Line, ...]) -> list[dict[str, Any]]:
    plain = {"xref": "paper", "x": 0, "xanchor": "left", "showarrow": False}
    return [
        {**plain, "y": line.y, "text": f"<b>{line.heading}</b>"}
        for line in lines
        if line.row is None
    ]


def _counts(lines: tuple[Line, ...]) -> list[dict[str, Any]]:
    plain = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 6, "showarrow": False}
    small = {"size": 11}
    rows = [(line.y, str(line.row.value.n)) for line in lines if line.row is not None]
    return [{**plain, "y": y, "text": text, "font": small} for y, text in [(0.75, "n"), *rows]]


@interactive.register
def _dots(drawing: Dots, entries: Mapping[str, Look]) -> tuple[Panel, ...]:
    wide = span([d.x for d in drawing.dots], drawing.x_unit, signed=False)
    high = span([d.y for d in drawing.dots], drawing.unit, signed=drawing.signed)
    panels = []
    for panel in drawing.panels:
        traces = [
            {
                **_marks(d.entry, entries[d.entry], 10),
                "mode": "markers",
                "x": [of_unit(d.x.value, drawing.x_unit)],
                "y": [of_unit(d.y.value, drawing.unit)],
                "error_y": _bars(whiskers([d.y], drawing.unit), 1.2),
                "customdata": [f"{interval(d.x, drawing.x_unit)}<br>{printed(d.y, drawing)}"],
                "hovertemplate": f"{d.entry}, {d.label}<br>%{{customdata}}<extra></extra>",
            }
            for d in drawing.dots
            if d.panel == panel
        ]
        layout = {
            "height": 320,
            "margin": _MARGIN,
            "showlegend": False,
            "xaxis": {"title": {"text": drawing.x_axis}, "range": wide},
            "yaxis": {"title": {"text": drawing.y_axis}, "range": high},
        }
        panels.append((panel, {"data": traces, "layout": layout}))
    return tuple(panels)


@interactive.register
def _heat(drawing: Heat, entries: Mapping[str, Look]) -> tuple[Panel, ...]:
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
                    [None if c is None else of_unit(c.value, drawing.unit) for c in row]
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
            "height": 110 + 24 * len(panel.rows),
            "margin": {"l": 10, "r": 10, "t": 8, "b": 46},
            "xaxis": {"title": {"text": "relative depth"}, "type": "category", "showgrid": False},
            "yaxis": {
                "automargin": True,
                "autorange": "reversed",
                "showgrid": False,
                "ticksuffix": " ",
            },
        },
    }


_POOLED: dict[str, Any] = {
    "type": "scatter",
    "name": "pooled",
    "legendgroup": "",
    "marker": {"symbol": "diamond-wide", "size": 15, "color": "text"},
}


def _marks(entry: str, look: Look, size: int) -> dict[str, Any]:
    marker = {"symbol": look.symbol, "size": size, "color": look.colour, "line": {"width": 2}}
    if not look.open:
        marker["line"] = {"width": 0}
    return {"type": "scatter", "name": entry, "legendgroup": entry, "marker": marker}


def _bars(found: tuple[list[float], list[float]], thickness: float) -> dict[str, Any]:
    below, above = found
    return {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "thickness": thickness,
        "width": 0,
    }
