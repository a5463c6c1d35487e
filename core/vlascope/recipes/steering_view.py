"""What the chapter on steering reads of a finished study, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vlascope.hand import HAND_UNITS, hand_series
from vlascope.statistics import Comparison, Estimate, Pair, bootstrap_mean, compare
from vlascope.study.measuring import Measuring
from vlascope.study.played import Played

if TYPE_CHECKING:
    from vlascope.recipes.steering import Steered, Steering
    from vlascope.study.recipe import Reading

__all__ = [
    "View",
    "by_step",
    "displacement",
    "dx_ratio",
    "mean_change",
    "mean_of",
    "measures",
    "nearest",
    "off_target",
    "paired",
    "rank_p",
    "success",
    "unit_of",
]

Floats = npt.NDArray[np.float64]
Values = dict[tuple[str, int], float | None]


@dataclass(frozen=True)
class View:
    """What the section reads of one policy."""

    recipe: Steering
    reading: Reading
    hz: float

    @property
    def measuring(self) -> Measuring:
        """Metrics by arm and cell."""
        return self.reading.measuring

    @property
    def baseline(self) -> str:
        """The plain arm."""
        return self.measuring.design.study.baseline_arm

    @property
    def steered(self) -> tuple[Steered, ...]:
        """The steered arms."""
        return self.recipe.steered(self.reading.name)

    def episodes(self, arm: str) -> list[Played]:
        """Those the arm's tasks name; the baseline's cut to the recipe's tasks."""
        cells = {(p.task, p.seed) for p in self.measuring.design.group(self.steered[0].arm).plans}
        found = self.measuring.episodes.of(self.reading.policy, arm)
        return [e for e in found if e.ok and e.cell in cells]

    def values(self, arm: str, of: Callable[[Played], float | None]) -> Values:
        """A number of every episode of an arm."""
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


def rank_p(effect: float, randoms: Sequence[float]) -> float:
    """P that an effect is one of the random ones: (1 + those at least as large) / (1 + all)."""
    return (1 + sum(abs(r) >= abs(effect) for r in randoms)) / (1 + len(randoms))


def measures(view: View) -> list[tuple[str, str, Callable[[Played], float | None]]]:
    """What arms are compared by: name, unit, and the number of an episode."""
    return [
        ("success", "share", success),
        ("speed", "m/s", view.hand("speed")),
        ("height", "m", view.hand("height")),
    ]


def paired(
    view: View, arm: str, control: str, of: Callable[[Played], float | None], *, binary: bool
) -> Comparison:
    """Arm against control over the cells that both played."""
    here, there = view.values(arm, of), view.values(control, of)
    pairs = [Pair(cell[0], value, there.get(cell)) for cell, value in here.items()]
    return compare(pairs, binary=binary)


def success(episode: Played) -> float | None:
    """The benchmark's verdict, 0 or 1."""
    return None if episode.record.success is None else float(episode.record.success)


def off_target(view: View, target: float, episode: Played) -> float | None:
    """Mean distance of the held quantity from its set point over an episode's steps."""
    if episode.hand is None:
        return None
    return float(np.abs(hand_series(view.quantity, episode.hand, view.hz) - target).mean())


def displacement(view: View, arm: str) -> Values:
    """Mean distance of the hand from the paired baseline in m, by cell."""
    values = view.measuring.values(view.reading.policy, arm, "displacement")
    cells = {e.cell for e in view.episodes(arm)}
    return {cell: value for cell, value in values.items() if cell in cells}


def mean_of(values: Mapping[tuple[str, int], float | None]) -> Estimate:
    """Mean over cells with a bootstrap interval by task."""
    by_task: dict[str, list[float]] = {}
    for (task, _), value in values.items():
        if value is not None:
            by_task.setdefault(task, []).append(value)
    return bootstrap_mean(by_task)


def mean_change(view: View, arm: str, of: Callable[[Played], float | None]) -> float | None:
    """Mean difference to the baseline over the cells that both played."""
    here, plain = view.values(arm, of), view.values(view.baseline, of)
    known = [(v, plain.get(cell)) for cell, v in here.items()]
    changes = [v - b for v, b in known if v is not None and b is not None]
    return float(np.mean(changes)) if changes else None


def dx_ratio(episodes: list[Played]) -> float | None:
    """Mean ||dx||/||x|| of the episodes' receipts; None without edits."""
    found = [r.dx_ratio_mean for e in episodes for r in e.record.receipts]
    known = [r for r in found if r is not None]
    return float(np.mean(known)) if known else None


def by_step(series: list[Floats]) -> Floats:
    """Mean at every step over the series that reach it."""
    longest = max(len(s) for s in series)
    table = np.full((len(series), longest), np.nan)
    for row, values in zip(table, series, strict=True):
        row[: len(values)] = values
    return np.nanmean(table, axis=0)


def unit_of(view: View) -> str:
    """The unit of the held quantity."""
    return HAND_UNITS[view.quantity]


def nearest(view: View, held: Steered, value: float | None) -> Steered | None:
    """The fixed strength of the same point whose mean quantity is nearest to the loop's."""
    others = [s for s in view.steered if s.at == held.at and s.strength is not None]
    means = {s.arm: mean_of(view.values(s.arm, view.hand(view.quantity))).value for s in others}
    known = [s for s in others if means[s.arm] is not None]
    if value is None or not known:
        return None
    return min(known, key=lambda s: abs((means[s.arm] or 0.0) - value))
