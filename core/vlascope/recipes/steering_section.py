"""The report's chapter on steering."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vlascope.hand import hand_series
from vlascope.recipes.steering_view import (
    View,
    by_step,
    displacement,
    dx_ratio,
    mean_change,
    mean_of,
    measures,
    off_target,
    paired,
    rank_p,
    unit_of,
)
from vlascope.recipes.steering_words import sentences, unresolved
from vlascope.sections import Block, Cell, Figure, Section, Table
from vlascope.statistics import rate

if TYPE_CHECKING:
    from vlascope.recipes.steering import Steering
    from vlascope.study.recipe import Reading

__all__ = ["steering_section"]

Floats = npt.NDArray[np.float64]


def steering_section(recipe: Steering, reading: Reading) -> Section:
    """Numbers by arm, against random directions, and the held quantity over time."""
    from vlascope import plugins

    benchmark = reading.measuring.design.study.benchmark
    env = plugins.benchmark_class(benchmark.name)(**benchmark.options)
    hz = env.info.hz
    env.close()
    view = View(recipe, reading, hz)
    blocks: list[Block] = [_arms(view), _against_random(view)]
    if recipe.randoms > 1:
        blocks.append(_ranks(view))
    if recipe.hold is not None:
        blocks.append(_loop_table(view))
    blocks += [_over_time(view, point) for point in recipe.points]
    return Section(
        name=reading.name,
        title=recipe.title,
        policy=reading.policy,
        sentences=tuple(sentences(view)),
        blocks=tuple(blocks),
        unresolved=unresolved(view),
    )


def _arms(view: View) -> Table:
    name = view.reading.name
    arms = [view.baseline, f"{name}_hooked", f"{name}_prompted"]
    arms += [arm for s in view.steered for arm in (s.arm, *view.recipe.randoms_of(s))]
    rows = []
    for arm in arms:
        episodes = view.episodes(arm)
        if not episodes:
            continue
        rows.append(
            (
                f"`{arm}`",
                Cell(estimate=rate([e.record.success for e in episodes])),
                Cell(estimate=mean_of(view.values(arm, view.hand("speed"))), unit="m/s"),
                Cell(estimate=mean_of(view.values(arm, view.hand("height"))), unit="m"),
                Cell(estimate=mean_of(displacement(view, arm)), unit="m"),
                dx_ratio(episodes),
            )
        )
    return Table(
        title="Steered, and not",
        caption="Means over whole episodes. Displacement: distance of the hand from the paired "
        "baseline, mean over common steps. The last column is the mean of ||dx||/||x|| over "
        "edited rows, from the receipts.",
        columns=("arm", "success", "speed", "height", "displacement", "||dx||/||x||"),
        rows=tuple(rows),
    )


def _against_random(view: View) -> Table:
    rows = []
    for steered in view.steered:
        random = f"{steered.arm}.random_direction"
        if not view.episodes(steered.arm) or not view.episodes(random):
            continue
        for label, unit, of in measures(view):
            found = paired(view, steered.arm, random, of, binary=label == "success")
            rows.append(
                (
                    f"`{steered.arm}`",
                    label,
                    Cell(estimate=found.difference, unit=unit, signed=True),
                    found.p,
                    found.detectable,
                )
            )
    return Table(
        title="Against a random direction of equal norm",
        caption="Paired by task and seed: steered minus random (for a closed loop, the same "
        "controller along a random direction). p is not corrected for the number "
        "of rows; the last column is the smallest true difference found with 80% power.",
        columns=("arm", "measure", "difference", "p", "detectable"),
        rows=tuple(rows),
        folded=len(rows) > 16,
    )


def _ranks(view: View) -> Table:
    """Each fixed strength's effect among those of all its random directions."""
    rows = []
    for steered in view.steered:
        randoms = [r for r in view.recipe.randoms_of(steered) if view.episodes(r)]
        if steered.strength is None or len(randoms) < 2 or not view.episodes(steered.arm):
            continue
        for label, unit, of in measures(view):
            effects = [mean_change(view, arm, of) for arm in (steered.arm, *randoms)]
            known = [e for e in effects[1:] if e is not None]
            if effects[0] is not None and known:
                largest = max(known, key=abs)
                p = rank_p(effects[0], known)
                rows.append(
                    (f"`{steered.arm}`", f"{label} ({unit})", effects[0], largest, len(known), p)
                )
    return Table(
        title="Among random directions",
        caption="Mean change against the baseline, paired by task and seed; the largest change "
        "under any random direction of equal norm; and the rank p: "
        "(1 + random effects at least as large) / (1 + random directions).",
        columns=("arm", "measure", "change", "largest random", "randoms", "p"),
        rows=tuple(rows),
    )


def _loop_table(view: View) -> Table:
    """Closed loop and fixed strengths: success, and how far off the set point."""
    hold = view.recipe.hold
    assert hold is not None
    rows = []
    for arm in (view.baseline, *(s.arm for s in view.steered)):
        episodes = view.episodes(arm)
        if not episodes:
            continue
        off = {e.cell: off_target(view, hold.target, e) for e in episodes}
        rows.append(
            (
                f"`{arm}`",
                Cell(estimate=rate([e.record.success for e in episodes])),
                Cell(
                    estimate=mean_of(view.values(arm, view.hand(view.quantity))), unit=unit_of(view)
                ),
                Cell(estimate=mean_of(off), unit=unit_of(view)),
            )
        )
    return Table(
        title=f"Held at {hold.target:g} {unit_of(view)}, and pushed at a fixed strength",
        caption=f"Mean {view.quantity}, and its mean distance from the set point per step, by arm.",
        columns=("arm", "success", f"mean {view.quantity}", "mean |off|"),
        rows=tuple(rows),
    )


def _over_time(view: View, point: str) -> Figure:
    """The mean of the quantity by step over the episodes still under way, by arm."""
    arms = [view.baseline, *(s.arm for s in view.steered if s.at == point)]
    data: list[dict[str, Any]] = []
    for arm in arms:
        series = [
            hand_series(view.quantity, e.hand, view.hz)
            for e in view.episodes(arm)
            if e.hand is not None
        ]
        if series:
            mean = by_step(series)
            seconds = (np.arange(len(mean)) + 1) / view.hz
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": arm,
                    "x": _plain(seconds),
                    "y": _plain(mean),
                }
            )
    shapes = []
    if view.recipe.hold is not None and view.recipe.hold.quantity == view.quantity:
        level = view.recipe.hold.target
        line = {"dash": "dot", "color": "#888"}
        shapes = [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": level,
                "y1": level,
                "line": line,
            }
        ]
    axis = f"{view.quantity} ({unit_of(view)})"
    layout = {"xaxis": {"title": "time (s)"}, "yaxis": {"title": axis}, "shapes": shapes}
    return Figure(
        title=f"Hand {view.quantity} over time, steered at {point}",
        caption="Mean over the episodes still under way; dotted: the set point.",
        plotly={"data": data, "layout": layout},
    )


def _plain(values: Floats) -> list[float]:
    return [round(float(v), 5) for v in values]
