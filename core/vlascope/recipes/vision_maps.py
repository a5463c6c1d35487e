"""The occlusion grid as heat maps over what the camera shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlascope.recipes.vision_judging import Effect, Judged
from vlascope.report.wording import bare, interval, p_value
from vlascope.sections import Figure

__all__ = ["Map", "heat_figure"]

_MEASURES = (("success", "change of success", "share"), ("moved", "displacement", "m"))
_GAP = 0.06


@dataclass(frozen=True)
class Map:
    """One picture's grid.

    Attributes:
        title: which tasks.
        cells: what was found, by (row, column); cells not played are missing.
        picture: PNG data URI, or None where there is none to draw on.
    """

    title: str
    cells: Mapping[tuple[int, int], Judged]
    picture: str | None


def heat_figure(maps: Sequence[Map], grid: int, camera: str) -> Figure:
    """A row per map: change of success on the left, displacement on the right."""
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "height": 60 + 360 * len(maps),
        "margin": {"l": 20, "r": 20, "t": 40, "b": 20},
        "images": [],
        "annotations": [],
        "coloraxis": _colours("RdBu", "success", 0.46, (-1, 1)),
        "coloraxis2": _colours("PuOr", "cm", 1.0, None),
    }
    for row, one in enumerate(maps):
        for column, (measure, label, unit) in enumerate(_MEASURES):
            number = 2 * row + column + 1
            traces.append(_trace(one, grid, measure, unit, number, column))
            _place(layout, one, grid, label, number, (row, len(maps)), column)
    return Figure(
        title="Which part of the picture is needed?",
        caption=(
            f"Each cell of a {grid} x {grid} grid was covered in arms of its own. Left: success "
            "minus that of the clean baseline. Right: displacement of the end effector from the "
            "clean baseline minus that under the control's faint noise. Effects that count as "
            f"found are framed by brackets. The picture is what camera `{camera}` shows first in "
            "the first seed; n and intervals appear at the pointer and in the table."
        ),
        plotly={"data": traces, "layout": layout},
    )


def _colours(scale: str, title: str, x: float, ends: tuple[float, float] | None) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "colorscale": scale,
        "cmid": 0,
        "colorbar": {"title": {"text": title}, "x": x, "thickness": 12, "len": 0.9},
    }
    return axis if ends is None else {**axis, "cmin": ends[0], "cmax": ends[1]}


def _trace(
    one: Map, grid: int, measure: str, unit: str, number: int, column: int
) -> dict[str, Any]:
    """Rows from the bottom up, as plotly counts them."""
    effects = [
        [_effect(one, measure, (row, c)) for c in range(grid)] for row in reversed(range(grid))
    ]
    return {
        "type": "heatmap",
        "z": [[_shown(e, unit) for e in row] for row in effects],
        "text": [[_text(e, unit) for e in row] for row in effects],
        "customdata": [[_about(e, unit) for e in row] for row in effects],
        "texttemplate": "%{text}",
        "hovertemplate": "%{customdata}<extra></extra>",
        "x0": 0.5,
        "dx": 1,
        "y0": 0.5,
        "dy": 1,
        "opacity": 0.6 if one.picture else 1.0,
        "coloraxis": "coloraxis" if column == 0 else "coloraxis2",
        "xaxis": f"x{number}",
        "yaxis": f"y{number}",
    }


def _effect(one: Map, measure: str, cell: tuple[int, int]) -> Effect | None:
    judged = one.cells.get(cell)
    if judged is None:
        return None
    return judged.success if measure == "success" else judged.moved


def _shown(effect: Effect | None, unit: str) -> float | None:
    if effect is None or effect.comparison.difference.value is None:
        return None
    return effect.comparison.difference.value * (100 if unit == "m" else 1)


def _text(effect: Effect | None, unit: str) -> str:
    if effect is None or effect.comparison.difference.value is None:
        return ""
    text = bare(effect.comparison.difference.value, unit, signed=True)
    return f"<b>[{text}]</b>" if effect.found else text


def _about(effect: Effect | None, unit: str) -> str:
    if effect is None:
        return "not played"
    return f"{interval(effect.comparison.difference, unit, signed=True)}, {p_value(effect.p)}"


def _place(
    layout: dict[str, Any],
    one: Map,
    grid: int,
    label: str,
    number: int,
    row: tuple[int, int],
    column: int,
) -> None:
    """Axes of one panel, the picture under it, its heading."""
    height = 1 / row[1]
    top = 1 - row[0] * height - _GAP / row[1]
    across = [0.0, 0.45] if column == 0 else [0.54, 0.99]
    hidden = {"showgrid": False, "zeroline": False, "visible": False, "fixedrange": True}
    axis = "" if number == 1 else number
    layout[f"xaxis{axis}"] = {
        **hidden,
        "range": [0, grid],
        "domain": across,
        "anchor": f"y{axis}",
    }
    layout[f"yaxis{axis}"] = {
        **hidden,
        "range": [0, grid],
        "domain": [1 - (row[0] + 1) * height + 0.01, top],
        "anchor": f"x{axis}",
        "scaleanchor": f"x{axis}",
        "constrain": "domain",
    }
    layout["annotations"].append(
        {
            "text": f"{one.title}: {label}",
            "showarrow": False,
            "xref": "paper",
            "yref": "paper",
            "x": across[0],
            "y": top,
            "xanchor": "left",
            "yanchor": "bottom",
        }
    )
    if one.picture is not None:
        layout["images"].append(
            {
                "source": one.picture,
                "xref": f"x{number}",
                "yref": f"y{number}",
                "x": 0,
                "y": grid,
                "sizex": grid,
                "sizey": grid,
                "sizing": "stretch",
                "layer": "below",
            }
        )
