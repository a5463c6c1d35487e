"""Plotly figures as plain data; colours come from the page, so that they follow its theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlascope.report.behaviour import BehaviourMatrix
from vlascope.report.paths import PathPanel
from vlascope.report.tables import EffectLine
from vlascope.report.wording import spoken
from vlascope.study.metrics import METRICS

__all__ = ["behaviour_figure", "forest_figure", "paths_figure"]

Figure = dict[str, Any]
PALETTE = ("#2f6fde", "#d9622b", "#1f9d78", "#a44fc4", "#b8860b", "#c43d5e", "#4b8fa8", "#7a7a2a")
OWN, SOURCE = "#8a8f98", "#111111"
ROLE_SYMBOLS = {
    "identity": "circle-open",
    "random_direction": "diamond",
    "no_injection": "circle",
    "cross_prompt": "square",
    "baseline": "circle",
}


def forest_figure(effects: Sequence[EffectLine], metric: str) -> Figure | None:
    """Arm minus control with intervals, a row per comparison; None where there is none."""
    lines = [e for e in effects if e.metric == metric]
    if not lines:
        return None
    labels = [f"{e.arm} \u2212 {e.control}" for e in lines]
    roles = list(dict.fromkeys(e.role for e in lines))
    traces = [_forest_trace(lines, labels, role, i) for i, role in enumerate(roles)]
    layout = {
        "height": 110 + 26 * len(dict.fromkeys(labels)),
        "margin": {"l": 10, "r": 20, "t": 40, "b": 50},
        "xaxis": {
            "title": {"text": f"difference in {METRICS[metric].label}, arm minus control"},
            "range": [-1.08, 1.08],
            "zeroline": True,
            "zerolinewidth": 2,
        },
        "yaxis": {
            "automargin": True,
            "categoryorder": "array",
            "categoryarray": list(dict.fromkeys(labels))[::-1],
            "ticksuffix": "  ",
        },
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    }
    return {"data": traces, "layout": layout}


def _forest_trace(
    lines: Sequence[EffectLine], labels: Sequence[str], role: str, index: int
) -> dict[str, Any]:
    mine = [(e, label) for e, label in zip(lines, labels, strict=True) if e.role == role]
    found = [e.comparison.difference for e, _ in mine]
    values = [d.value or 0.0 for d in found]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"against {spoken(role)}",
        "x": values,
        "y": [label for _, label in mine],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [
                (d.high if d.high is not None else v) - v
                for d, v in zip(found, values, strict=True)
            ],
            "arrayminus": [
                v - (d.low if d.low is not None else v) for d, v in zip(found, values, strict=True)
            ],
            "thickness": 1.6,
            "width": 0,
        },
        "marker": {
            "size": 9,
            "symbol": ROLE_SYMBOLS.get(role, "circle"),
            "color": PALETTE[index % len(PALETTE)],
        },
        "customdata": [d.n for d in found],
        "hovertemplate": "%{y}<br>%{x:+.2f}, n = %{customdata}<extra></extra>",
    }


def behaviour_figure(matrix: BehaviourMatrix) -> Figure:
    """Shares of episodes by task (rows) and by the goal that came true first (columns)."""
    shares = [[count / n for count in row] for row, n in zip(matrix.counts, matrix.n, strict=True)]
    prefix = f"{matrix.scene}/"
    text = [[str(c) if c else "" for c in row] for row in matrix.counts]
    return {
        "data": [
            {
                "type": "heatmap",
                "z": shares,
                "x": [c.removeprefix(prefix) for c in matrix.columns],
                "y": [
                    f"{r.replace(prefix, '')} (n={n})"
                    for r, n in zip(matrix.rows, matrix.n, strict=True)
                ],
                "text": text,
                "texttemplate": "%{text}",
                "zmin": 0,
                "zmax": 1,
                "colorscale": "theme",
                "showscale": False,
                "xgap": 2,
                "ygap": 2,
                "hovertemplate": "%{y} \u2192 %{x}: %{z:.0%}<extra></extra>",
            }
        ],
        "layout": {
            "height": 120 + 30 * len(matrix.rows),
            "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
            "xaxis": {
                "automargin": True,
                "tickangle": -40,
                "showgrid": False,
                "title": {"text": "goal that came true first", "standoff": 8},
            },
            "yaxis": {
                "automargin": True,
                "autorange": "reversed",
                "showgrid": False,
                "ticksuffix": " ",
            },
        },
    }


def paths_figure(panel: PathPanel) -> Figure:
    """One task and seed from above; x and y in metres at equal scale."""
    colours = _arm_colours(panel)
    traces: list[dict[str, Any]] = []
    for trace in panel.traces:
        own, source = trace.style == "own", trace.style == "source"
        colour = OWN if own else "text" if source else colours[trace.arm]
        dash = "dot" if trace.style == "control" else "solid"
        name = f"source ({panel.source})" if source else trace.arm
        ended = "star" if trace.success else "x"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "visible": "legendonly" if "." in trace.arm else True,
                "x": list(trace.x),
                "y": list(trace.y),
                "line": {"color": colour, "dash": dash, "width": 5 if own or source else 2.2},
                "opacity": 0.55 if own or source else 0.95,
                "marker": {
                    "color": colour,
                    "size": [0] * (len(trace.x) - 1) + [11],
                    "symbol": ended,
                    "line": {"width": 0},
                },
                "hovertemplate": f"{name}<br>x %{{x:.3f}} m, y %{{y:.3f}} m<extra></extra>",
            }
        )
    first = panel.traces[0]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "start",
            "x": [first.x[0]],
            "y": [first.y[0]],
            "marker": {"color": "text", "size": 9, "symbol": "circle-open", "line": {"width": 2}},
            "hoverinfo": "skip",
        }
    )
    layout = {
        "height": 430,
        "margin": {"l": 60, "r": 10, "t": 10, "b": 50},
        "xaxis": {"title": {"text": "x (m)"}, "zeroline": False},
        "yaxis": {
            "title": {"text": "y (m)"},
            "zeroline": False,
            "scaleanchor": "x",
            "scaleratio": 1,
        },
        "legend": {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"},
    }
    layout["height"] = 430 + 19 * ((len(traces) + 1) // 2)
    return {"data": traces, "layout": layout}


def _arm_colours(panel: PathPanel) -> dict[str, str]:
    """A colour per arm; an arm's own controls (`arm.random_direction`) share it."""
    stems = list(dict.fromkeys(t.arm.partition(".")[0] for t in panel.traces[1:]))
    return {
        t.arm: PALETTE[stems.index(t.arm.partition(".")[0]) % len(PALETTE)]
        for t in panel.traces[1:]
    }
