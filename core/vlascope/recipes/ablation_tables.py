"""Tables and figures of the chapter on ablation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vlascope.report.wording import p_value
from vlascope.sections import Cell, Figure, Table
from vlascope.statistics import Estimate, rate

if TYPE_CHECKING:
    from vlascope.recipes.ablation_section import Broken, CutPoint

__all__ = ["curve_figures", "grid_figure", "grid_table", "live_arms", "rate_table"]


def live_arms(broken: Sequence[Broken]) -> dict[tuple[str, str], list[Broken]]:
    """Arms over the whole episode at sites that can reach the action, by pathway and method."""
    found: dict[tuple[str, str], list[Broken]] = {}
    for b in broken:
        if not b.dead and not b.place.window:
            found.setdefault((b.place.pathway, b.place.method), []).append(b)
    return found


def rate_table(broken: Sequence[Broken]) -> Table:
    """Shares of live sites without effect and destroyed, by pathway and method."""
    rows = []
    for (pathway, method), mine in live_arms(broken).items():
        limits = [b.against.detectable for b in mine if b.against.detectable is not None]
        rows.append(
            (
                pathway,
                method,
                Cell(estimate=rate([b.verdict == "zero" for b in mine])),
                Cell(estimate=rate([b.verdict == "destroyed" for b in mine])),
                sum(b.verdict == "unresolved" for b in mine),
                max(limits, default=None),
            )
        )
    return Table(
        title="Zero effect and destruction",
        caption="n counts arms of the grid. A zero effect is one below the detectable difference.",
        columns=("pathway", "method", "zero effect", "destroyed", "unresolved", "detectable"),
        rows=tuple(rows),
    )


def grid_table(broken: Sequence[Broken]) -> Table:
    """A row per arm; dead sites last."""
    ranked = sorted(broken, key=lambda b: (b.dead, b.against.difference.value or 0.0))
    return Table(
        title="Every site",
        caption="Live sites by their effect; dead ones below, unranked.",
        columns=(
            "site", "method", "window", "success", "against baseline", "p", "detectable",
            "against random direction", "mean \u2016\u0394x\u2016/\u2016x\u2016", "verdict",
        ),
        rows=tuple(_grid_row(b) for b in ranked),
        folded=len(broken) > 24,
    )  # fmt: skip


def _grid_row(broken: Broken) -> tuple[str | float | Cell | None, ...]:
    random = broken.random
    return (
        f"`{broken.place.at}`",
        broken.place.method,
        broken.place.window or "all",
        Cell(estimate=broken.value),
        Cell(estimate=broken.against.difference, signed=True),
        p_value(broken.against.p),
        broken.against.detectable,
        Cell(estimate=random.difference, signed=True) if random is not None else None,
        broken.ratio,
        "dead" if broken.dead else broken.verdict,
    )


def grid_figure(broken: Sequence[Broken]) -> list[Figure]:
    """Effect by layer (down) and by site and method (across); windows in a map of their own."""
    whole = [b for b in broken if not b.place.window]
    parts = [b for b in broken if b.place.window]
    found = []
    for title, mine in (("Success lost, by site", whole), ("By part of the episode", parts)):
        if mine:
            found.append(Figure(title=title, caption="Success minus baseline.", plotly=_map(mine)))
    return found


def _map(broken: Sequence[Broken]) -> dict[str, Any]:
    def column(b: Broken) -> str:
        return f"{b.place.site}, {b.place.window or b.place.method}"

    layers = list(dict.fromkeys(b.place.layer for b in broken))
    columns = list(dict.fromkeys(column(b) for b in broken))
    by_cell = {(b.place.layer, column(b)): b for b in broken}
    cells = [[by_cell.get((layer, c)) for c in columns] for layer in layers]
    effects = [[None if b is None else b.against.difference.value for b in row] for row in cells]
    words = [["" if b is None else "dead" if b.dead else b.verdict for b in row] for row in cells]
    trace = {
        "type": "heatmap",
        "x": columns,
        "y": layers,
        "z": effects,
        "text": words,
        "texttemplate": "%{text}",
        "zmin": -1,
        "zmax": 1,
        "zmid": 0,
        "colorscale": "RdBu",
    }
    layout = {
        "height": 140 + 28 * len(layers),
        "margin": {"l": 10, "r": 20, "t": 30, "b": 60},
        "yaxis": {"automargin": True, "autorange": "reversed"},
    }
    return {"data": [trace], "layout": layout}


def curve_figures(points: Sequence[CutPoint]) -> list[Figure]:
    """Per set, success against how many were removed: ranked, random, and matched."""
    found = []
    for of in dict.fromkeys(p.cut.of for p in points):
        mine = [p for p in points if p.cut.of == of]
        lines = [
            ("ranked", [(p.cut.size, p.value) for p in mine if p.cut.which == "top"]),
            ("random", [(p.cut.size, p.value) for p in mine if p.cut.which == "random"]),
            ("matched", [(p.cut.size, p.matched) for p in mine if p.matched is not None]),
        ]
        traces = [_line(name, line) for name, line in lines if line]
        layout = {
            "height": 340,
            "xaxis": {"title": {"text": "removed"}},
            "yaxis": {"title": {"text": "success"}, "range": [-0.03, 1.03]},
        }
        caption = "Bars are Wilson intervals; every random draw is a point."
        plotly = {"data": traces, "layout": layout}
        found.append(Figure(title=f"How many of `{of}`", caption=caption, plotly=plotly))
    return found


def _line(name: str, line: Sequence[tuple[int, Estimate]]) -> dict[str, Any]:
    known = [(n, e) for n, e in sorted(line, key=lambda x: x[0]) if e.value is not None]
    return {
        "type": "scatter",
        "mode": "markers" if name == "random" else "lines+markers",
        "name": name,
        "x": [n for n, _ in known],
        "y": [e.value for _, e in known],
        "customdata": [e.n for _, e in known],
        "hovertemplate": "%{x} removed: %{y:.2f}, n = %{customdata}<extra></extra>",
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [(e.high or 0.0) - (e.value or 0.0) for _, e in known],
            "arrayminus": [(e.value or 0.0) - (e.low or 0.0) for _, e in known],
        },
    }
