"""The report's chapter on steering."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vlascope.hand import HAND_UNITS, hand_series
from vlascope.sections import Block, Cell, Figure, Section, Table
from vlascope.statistics import Comparison, Estimate, Pair, bootstrap_mean, compare, rate
from vlascope.study.measuring import Measuring
from vlascope.study.played import Played

if TYPE_CHECKING:
    from vlascope.recipes.steering import Steered, Steering
    from vlascope.study.recipe import Reading

__all__ = ["rank_p", "steering_section"]

Floats = npt.NDArray[np.float64]
Values = dict[tuple[str, int], float | None]


@dataclass(frozen=True)
class _View:
    """What the section reads of one policy."""

    recipe: Steering
    reading: Reading
    hz: float

    @property
    def measuring(self) -> Measuring:
        return self.reading.measuring

    @property
    def baseline(self) -> str:
        return self.measuring.design.study.baseline_arm

    @property
    def steered(self) -> tuple[Steered, ...]:
        return self.recipe.steered(self.reading.name)

    def episodes(self, arm: str) -> list[Played]:
        """Those the arm's tasks name; the baseline's cut to the recipe's tasks."""
        cells = {(p.task, p.seed) for p in self.measuring.design.group(self.steered[0].arm).plans}
        found = self.measuring.episodes.of(self.reading.policy, arm)
        return [e for e in found if e.ok and e.cell in cells]

    def values(self, arm: str, of: Callable[[Played], float | None]) -> Values:
        return {e.cell: of(e) for e in self.episodes(arm)}

    def hand(self, quantity: str) -> Callable[[Played], float | None]:
        """The mean of a hand quantity over an episode."""

        def mean(episode: Played) -> float | None:
            if episode.hand is None:
                return None
            return float(hand_series(quantity, episode.hand, self.hz).mean())

        return mean

    @property
    def quantity(self) -> str:
        """What the closed loop holds, as far as a path shows it; else speed."""
        held = self.recipe.hold.quantity if self.recipe.hold else "speed"
        return held if held in HAND_UNITS else "speed"


def steering_section(recipe: Steering, reading: Reading) -> Section:
    """Numbers by arm, against random directions, and the held quantity over time."""
    from vlascope import plugins

    benchmark = reading.measuring.design.study.benchmark
    env = plugins.benchmark_class(benchmark.name)(**benchmark.options)
    hz = env.info.hz
    env.close()
    view = _View(recipe, reading, hz)
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
        sentences=tuple(_sentences(view)),
        blocks=tuple(blocks),
        unresolved=_unresolved(view),
    )


def _arms(view: _View) -> Table:
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
                Cell(estimate=_mean(view.values(arm, view.hand("speed"))), unit="m/s"),
                Cell(estimate=_mean(view.values(arm, view.hand("height"))), unit="m"),
                Cell(estimate=_mean(_displacement(view, arm)), unit="m"),
                _ratio(episodes),
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


def _against_random(view: _View) -> Table:
    rows = []
    for steered in view.steered:
        random = f"{steered.arm}.random_direction"
        if not view.episodes(steered.arm) or not view.episodes(random):
            continue
        for label, unit, of in _measures(view):
            found = _paired(view, steered.arm, random, of, binary=label == "success")
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
        caption="Paired by task and seed: steered minus random. p is not corrected for the number "
        "of rows; the last column is the smallest true difference found with 80% power.",
        columns=("arm", "measure", "difference", "p", "detectable"),
        rows=tuple(rows),
        folded=len(rows) > 16,
    )


def rank_p(effect: float, randoms: Sequence[float]) -> float:
    """P that an effect is one of the random ones: (1 + those at least as large) / (1 + all)."""
    return (1 + sum(abs(r) >= abs(effect) for r in randoms)) / (1 + len(randoms))


def _ranks(view: _View) -> Table:
    """Each fixed strength's effect among those of all its random directions."""
    rows = []
    for steered in view.steered:
        randoms = [r for r in view.recipe.randoms_of(steered) if view.episodes(r)]
        if steered.strength is None or len(randoms) < 2 or not view.episodes(steered.arm):
            continue
        for label, unit, of in _measures(view):
            effects = [_mean_change(view, arm, of) for arm in (steered.arm, *randoms)]
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


def _mean_change(view: _View, arm: str, of: Callable[[Played], float | None]) -> float | None:
    here, plain = view.values(arm, of), view.values(view.baseline, of)
    known = [(v, plain.get(cell)) for cell, v in here.items()]
    changes = [v - b for v, b in known if v is not None and b is not None]
    return float(np.mean(changes)) if changes else None


def _loop_table(view: _View) -> Table:
    """Closed loop and fixed strengths: success, and how far off the set point."""
    hold = view.recipe.hold
    assert hold is not None
    rows = []
    for arm in (view.baseline, *(s.arm for s in view.steered)):
        episodes = view.episodes(arm)
        if not episodes:
            continue
        off = {e.cell: _off(view, e, hold.target) for e in episodes}
        rows.append(
            (
                f"`{arm}`",
                Cell(estimate=rate([e.record.success for e in episodes])),
                Cell(estimate=_mean(view.values(arm, view.hand(view.quantity))), unit=_unit(view)),
                Cell(estimate=_mean(off), unit=_unit(view)),
            )
        )
    return Table(
        title=f"Held at {hold.target:g} {_unit(view)}, and pushed at a fixed strength",
        caption=f"Mean {view.quantity}, and its mean distance from the set point per step, by arm.",
        columns=("arm", "success", f"mean {view.quantity}", "mean |off|"),
        rows=tuple(rows),
    )


def _over_time(view: _View, point: str) -> Figure:
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
            mean = _by_step(series)
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
    axis = f"{view.quantity} ({_unit(view)})"
    layout = {"xaxis": {"title": "time (s)"}, "yaxis": {"title": axis}, "shapes": shapes}
    return Figure(
        title=f"Hand {view.quantity} over time, steered at {point}",
        caption="Mean over the episodes still under way; dotted: the set point.",
        plotly={"data": data, "layout": layout},
    )


def _sentences(view: _View) -> list[str]:
    lines = []
    for steered in view.steered:
        if steered.strength is not None or not view.episodes(steered.arm):
            continue
        hold = view.recipe.hold
        assert hold is not None
        kept = rate([e.record.success for e in view.episodes(steered.arm)])
        measured = _mean(view.values(steered.arm, view.hand(view.quantity)))
        lines.append(
            f"Closed loop at {steered.at}, {hold.quantity} to be held at {hold.target:g} "
            f"{_unit(view)}: mean {_say(measured, _unit(view))}, success {_share(kept)}."
        )
        twin = _nearest(view, steered, measured.value)
        if twin is not None:
            lost = rate([e.record.success for e in view.episodes(twin.arm)])
            pair = _paired(view, steered.arm, twin.arm, _success, binary=True)
            reached = _mean(view.values(twin.arm, view.hand(view.quantity)))
            lines.append(
                f"Of the fixed strengths there, {twin.strength:+g} comes nearest "
                f"({_say(reached, _unit(view))}), with success {_share(lost)}; loop minus fixed: "
                f"{_say(pair.difference, 'share')}."
            )
    for steered in view.steered:
        random = f"{steered.arm}.random_direction"
        if steered.strength is None or not view.episodes(steered.arm) or not view.episodes(random):
            continue
        of = view.hand(view.quantity)
        found = _paired(view, steered.arm, random, of, binary=False).difference
        verdict = "differs from" if found.resolved else "is not told apart from"
        lines.append(
            f"Strength {steered.strength:+g} at {steered.at}: {view.quantity} {verdict} that under "
            f"a random direction of equal norm ({_say(found, _unit(view))})."
        )
    return lines


def _unresolved(view: _View) -> tuple[str, ...]:
    lines = [
        f"{view.recipe.randoms} random direction(s) per strength: no effect can be told from "
        f"theirs at p < {1 / (1 + view.recipe.randoms):.2g}, however many episodes there are.",
        "Episodes end at success, so that means over an episode also change with its length.",
    ]
    if view.recipe.prompting is None:
        lines.append("Nobody asked for the same in words: steering is not set against prompting.")
    return tuple(lines)


def _nearest(view: _View, held: Steered, value: float | None) -> Steered | None:
    """The fixed strength of the same point whose mean quantity is nearest to the loop's."""
    others = [s for s in view.steered if s.at == held.at and s.strength is not None]
    means = {s.arm: _mean(view.values(s.arm, view.hand(view.quantity))).value for s in others}
    known = [s for s in others if means[s.arm] is not None]
    if value is None or not known:
        return None
    return min(known, key=lambda s: abs((means[s.arm] or 0.0) - value))


def _measures(view: _View) -> list[tuple[str, str, Callable[[Played], float | None]]]:
    return [
        ("success", "share", _success),
        ("speed", "m/s", view.hand("speed")),
        ("height", "m", view.hand("height")),
    ]


def _paired(
    view: _View, arm: str, control: str, of: Callable[[Played], float | None], *, binary: bool
) -> Comparison:
    here, there = view.values(arm, of), view.values(control, of)
    pairs = [Pair(cell[0], value, there.get(cell)) for cell, value in here.items()]
    return compare(pairs, binary=binary)


def _success(episode: Played) -> float | None:
    return None if episode.record.success is None else float(episode.record.success)


def _off(view: _View, episode: Played, target: float) -> float | None:
    if episode.hand is None:
        return None
    return float(np.abs(hand_series(view.quantity, episode.hand, view.hz) - target).mean())


def _displacement(view: _View, arm: str) -> Values:
    values = view.measuring.values(view.reading.policy, arm, "displacement")
    cells = {e.cell for e in view.episodes(arm)}
    return {cell: value for cell, value in values.items() if cell in cells}


def _mean(values: Mapping[tuple[str, int], float | None]) -> Estimate:
    by_task: dict[str, list[float]] = {}
    for (task, _), value in values.items():
        if value is not None:
            by_task.setdefault(task, []).append(value)
    return bootstrap_mean(by_task)


def _ratio(episodes: list[Played]) -> float | None:
    found = [r.dx_ratio_mean for e in episodes for r in e.record.receipts]
    known = [r for r in found if r is not None]
    return float(np.mean(known)) if known else None


def _by_step(series: list[Floats]) -> Floats:
    longest = max(len(s) for s in series)
    table = np.full((len(series), longest), np.nan)
    for row, values in zip(table, series, strict=True):
        row[: len(values)] = values
    return np.nanmean(table, axis=0)


def _plain(values: Floats) -> list[float]:
    return [round(float(v), 5) for v in values]


def _unit(view: _View) -> str:
    return HAND_UNITS[view.quantity]


def _say(estimate: Estimate, unit: str) -> str:
    if estimate.value is None:
        return "not measured"
    if unit == "share":
        return _share(estimate, signed=True)
    interval = (
        f", 95% interval {estimate.low:.3g} to {estimate.high:.3g}"
        if estimate.low is not None and estimate.high is not None
        else ""
    )
    return f"{estimate.value:.3g} {unit}{interval}, n = {estimate.n}"


def _share(estimate: Estimate, *, signed: bool = False) -> str:
    if estimate.value is None:
        return "not measured"
    sign = "+" if signed else ""
    interval = (
        f", 95% interval {100 * estimate.low:{sign}.0f} to {100 * estimate.high:{sign}.0f}"
        if estimate.low is not None and estimate.high is not None
        else ""
    )
    unit = " points" if signed else "%"
    return f"{100 * estimate.value:{sign}.0f}{unit}{interval}, n = {estimate.n}"
