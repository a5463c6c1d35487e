"""A forest as a plotly figure: rows below one another, headings, controls in grey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlascope.comparison.report.drawings import Forest
from vlascope.comparison.report.forest_rows import Line, below, placed
from vlascope.comparison.report.scales import of_unit, printed, span, whiskers
from vlascope.comparison.report.styles import CONTROL_SYMBOLS, Look
from vlascope.comparison.report.traces import Panel, bars, marks

__all__ = ["forest"]

_POOLED: dict[str, Any] = {
    "type": "scatter",
    "name": "pooled",
    "legendgroup": "",
    "marker": {"symbol": "diamond-wide", "size": 15, "color": "text"},
}


def forest(drawing: Forest, entries: Mapping[str, Look]) -> tuple[Panel, ...]:
    """One panel; its height follows from its rows."""
    lines = placed(drawing)
    values = [line.row.value for line in lines if line.row is not None and line.row.entry]
    values += [c.value for line in lines if line.row is not None for c in line.row.controls]
    tall = 34 if drawing.controls else 23
    lowest = min(line.y for line in lines)
    layout: dict[str, Any] = {
        "height": 86 + round(tall * (1 - lowest)),
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
        "shapes": [_spread(line, drawing.unit) for line in lines if line.row and line.row.spread],
        "annotations": [*_headings(lines), *_counts(lines)],
    }
    traces = [_mark(line, drawing, entries) for line in lines if line.row is not None]
    traces += [_grey(lines, label, i, drawing) for i, label in enumerate(drawing.controls)]
    return ((drawing.title, {"data": traces, "layout": layout}),)


def _mark(line: Line, drawing: Forest, entries: Mapping[str, Look]) -> dict[str, Any]:
    row = line.row
    assert row is not None
    kind = marks(row.entry, entries[row.entry], 9) if row.entry else _POOLED
    told = printed(row.value, drawing)
    if row.spread is not None:
        low, high = (of_unit(v, drawing.unit) for v in row.spread)
        told += f"<br>another architecture is expected in [{low:.2f}, {high:.2f}]"
    return {
        **kind,
        "mode": "markers",
        "x": [of_unit(row.value.value, drawing.unit)],
        "y": [line.y],
        "error_x": bars(whiskers([row.value], drawing.unit), 1.6 if row.entry else 2.6),
        "customdata": [told],
        "hovertemplate": f"{row.group} {row.label}<br>%{{customdata}}<extra></extra>",
    }


def _grey(lines: tuple[Line, ...], label: str, index: int, drawing: Forest) -> dict[str, Any]:
    """One control of every row that has it, a little lower than its row."""
    found = [
        (line, c.value)
        for line in lines
        if line.row is not None
        for c in line.row.controls
        if c.label == label
    ]
    symbol = CONTROL_SYMBOLS[index % len(CONTROL_SYMBOLS)][0]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label,
        "legendgroup": "controls",
        "x": [of_unit(v.value, drawing.unit) for _, v in found],
        "y": [line.y - below(index, drawing) for line, _ in found],
        "error_x": bars(whiskers([v for _, v in found], drawing.unit), 1.0),
        "marker": {"symbol": symbol, "size": 7, "color": "#8a8f98", "line": {"width": 1.4}},
        "customdata": [printed(v, drawing) for _, v in found],
        "hovertemplate": f"{label}<br>%{{customdata}}<extra></extra>",
    }


def _spread(line: Line, unit: str) -> dict[str, Any]:
    """Where another architecture is expected, dotted."""
    assert line.row is not None
    assert line.row.spread is not None
    low, high = (of_unit(v, unit) for v in line.row.spread)
    ends = {"x0": low, "x1": high, "y0": line.y, "y1": line.y}
    return {"type": "line", **ends, "line": {"dash": "dot", "width": 1.4, "color": "#8a8f98"}}


def _headings(lines: tuple[Line, ...]) -> list[dict[str, Any]]:
    plain = {"xref": "paper", "x": 0, "xanchor": "left", "showarrow": False}
    return [
        {
            **plain,
            "y": line.y,
            "text": "<b>" + line.heading.replace("\n", "<br>") + "</b>",
            "align": "left",
        }
        for line in lines
        if line.row is None
    ]


def _counts(lines: tuple[Line, ...]) -> list[dict[str, Any]]:
    plain = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 6, "showarrow": False}
    small = {"size": 11}
    rows = [
        (line.y, f"{line.row.value.n}" if line.row.entry else f"k = {line.row.value.n}")
        for line in lines
        if line.row is not None
    ]
    return [{**plain, "y": y, "text": text, "font": small} for y, text in [(0.75, "n"), *rows]]
