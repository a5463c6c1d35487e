"""A forest as a plotly figure: rows below one another, headings, controls in grey."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vlascope.comparison.report.drawings import Forest, is_null
from vlascope.comparison.report.forest_rows import BAND, Line, below, placed
from vlascope.comparison.report.scales import of_unit, printed, rounded, span, whiskers
from vlascope.comparison.report.styles import CONTROL_SYMBOLS, GREY, Look
from vlascope.comparison.report.traces import Panel, bars, marks
from vlascope.statistics import Estimate

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
    traces = [
        t for label in drawing.controls if is_null(label) for t in _band(lines, label, drawing)
    ]
    traces += [_mark(line, drawing, entries) for line in lines if line.row is not None]
    traces += [_grey(lines, label, drawing) for label in drawing.marked]
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
        "x": [rounded(of_unit(row.value.value, drawing.unit))],
        "y": [line.y],
        "error_x": bars(whiskers([row.value], drawing.unit), 1.6 if row.entry else 2.6),
        "customdata": [told],
        "hovertemplate": f"{row.group} {row.label}<br>%{{customdata}}<extra></extra>",
    }


def _band(lines: tuple[Line, ...], label: str, drawing: Forest) -> Iterator[dict[str, Any]]:
    """What chance would do behind every row that has it: its interval, and its value upright."""
    found = list(_of_control(lines, label))
    below, above = whiskers([v for _, v in found], drawing.unit)
    at = [of_unit(v.value, drawing.unit) for _, v in found]
    shared = {
        "name": label,
        "legendgroup": "controls",
        "y": [line.y for line, _ in found],
        "customdata": [printed(v, drawing) for _, v in found],
        "hovertemplate": f"{label}<br>%{{customdata}}<extra></extra>",
    }
    yield {
        **shared,
        "type": "bar",
        "orientation": "h",
        "base": [rounded(x - b) for x, b in zip(at, below, strict=True)],
        "x": [rounded(b + a) for b, a in zip(below, above, strict=True)],
        "width": 2 * BAND,
        "marker": {"color": "rgba(138, 143, 152, 0.3)", "line": {"width": 0}},
    }
    yield {
        **shared,
        "type": "scatter",
        "mode": "markers",
        "x": [rounded(x) for x in at],
        "marker": {"symbol": "line-ns-open", "size": 16, "color": GREY, "line": {"width": 1.8}},
    }


def _of_control(lines: tuple[Line, ...], label: str) -> Iterator[tuple[Line, Estimate]]:
    """Its value of every row that has it."""
    for line in lines:
        for control in line.row.controls if line.row is not None else ():
            if control.label == label:
                yield line, control.value


def _grey(lines: tuple[Line, ...], label: str, drawing: Forest) -> dict[str, Any]:
    """One control of every row that has it, a little lower than its row."""
    found = list(_of_control(lines, label))
    symbol = CONTROL_SYMBOLS[drawing.marked.index(label) % len(CONTROL_SYMBOLS)][0]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label,
        "legendgroup": "controls",
        "x": [rounded(of_unit(v.value, drawing.unit)) for _, v in found],
        "y": [rounded(line.y - below(label, drawing)) for line, _ in found],
        "error_x": bars(whiskers([v for _, v in found], drawing.unit), 1.0),
        "marker": {"symbol": symbol, "size": 7, "color": GREY, "line": {"width": 1.4}},
        "customdata": [printed(v, drawing) for _, v in found],
        "hovertemplate": f"{label}<br>%{{customdata}}<extra></extra>",
    }


def _spread(line: Line, unit: str) -> dict[str, Any]:
    """Where another architecture is expected, dotted."""
    assert line.row is not None
    assert line.row.spread is not None
    low, high = (rounded(of_unit(v, unit)) for v in line.row.spread)
    ends = {"x0": low, "x1": high, "y0": line.y, "y1": line.y}
    return {"type": "line", **ends, "line": {"dash": "dot", "width": 1.4, "color": GREY}}


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
