"""Directions as differences of means between two tasks, two prompts, or fast and slow moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vlascope.differences import MeanDifference, mean_difference
from vlascope.directions import Direction, save_directions
from vlascope.errors import UnusableActivations, unknown_name
from vlascope.hand import HAND_UNITS, hand_series
from vlascope.rollout.arrays import EpisodeArrays
from vlascope.sections import Block, Cell, Table
from vlascope.store import Rows
from vlascope.study.analysis import Analysis, AnalysisContext, AnalysisResult

if TYPE_CHECKING:
    from vlascope.records import EpisodeRecord

__all__ = ["Contrast", "DifferenceOfMeans"]

Floats = npt.NDArray[np.float64]


class Contrast(BaseModel):
    """What is set against what; exactly one of the three.

    Attributes:
        tasks: two tasks; the second minus the first, paired by seed.
        arms: two arms (two prompts, say); the second minus the first, paired by task and seed.
        by: a quantity of the hand (`speed`, `height`, `rise`, ...) during the chunk: moments in
            its upper `share` minus those in its lower, within each episode, so that neither the
            task nor the scene makes the difference.
        share: of an episode's moments on either side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: tuple[str, str] | None = None
    arms: tuple[str, str] | None = None
    by: str | None = None
    share: Annotated[float, Field(gt=0, le=0.5)] = 0.25

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(v is not None for v in (self.tasks, self.arms, self.by)) != 1:
            raise ValueError("give one of `tasks: [A, B]`, `arms: [A, B]` and `by: speed`")
        if self.by is not None and self.by not in HAND_UNITS:
            raise ValueError(str(unknown_name("quantity of the hand", self.by, HAND_UNITS)))
        return self

    @property
    def about(self) -> str:
        """In words."""
        if self.by is not None:
            return f"moments of high hand {self.by} minus moments of low"
        first, second = self.tasks or self.arms or ("", "")
        return f"{second} minus {first}"


class DifferenceOfMeans(Analysis):
    """One direction per hook point, written to `directions.safetensors` under the point's name.

    Attributes:
        at: globs of hook points.
        contrast: what is set against what.
        tokens: globs of token spans; None for all. Tokens and calls of a moment are averaged.
        strength: of the `Steer` edits offered under the key of each point, relative to ||x||;
            `"POINT held"` offers `SteerTo`, whose set point an arm sets (`with: {target: ...}`).
    """

    kind: ClassVar[str] = "difference_of_means"

    at: tuple[str, ...]
    contrast: Contrast
    tokens: tuple[str, ...] | None = None
    strength: float = 0.5

    @field_validator("at", "tokens", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def recordings(self) -> dict[str, tuple[str, ...]]:
        """The points, in every arm it reads."""
        return dict.fromkeys(self.arms, self.at)

    def run(self, context: AnalysisContext) -> AnalysisResult:
        """Read the recording once per point and keep one direction each."""
        from vlascope.study.depth import expand_depth

        globs = expand_depth(self.at, context.adapter.info.pathways)
        speeds = _quantities(context, self.contrast.by) if self.contrast.by else {}
        found: dict[str, tuple[MeanDifference, Direction]] = {}
        for point in context.adapter.match(globs):
            means = self._means(context, str(point))
            difference = mean_difference(list(self._differences(means, speeds)))
            found[str(point)] = difference, self._direction(str(point), difference, means)
        path = save_directions(
            context.folder / "directions.safetensors",
            [direction for _, direction in found.values()],
            {"policy": context.adapter.info.checkpoint_hash, "arms": list(self.arms)},
        )
        return self._result({p: d for p, (d, _) in found.items()}, str(path))

    def _means(self, context: AnalysisContext, point: str) -> list[_Moment]:
        """The mean activation of every recorded moment."""
        store = context.store()
        found: list[_Moment] = []
        for arm in self.arms:
            rows = store.read(point, context.where(arm, spans=self.tokens))
            found += _moments(arm, rows)
        if not found:
            raise UnusableActivations(
                f"{', '.join(self.arms)} recorded nothing at {point}"
                + (f" in tokens {list(self.tokens)}" if self.tokens else "")
            )
        return found

    def _differences(self, means: list[_Moment], speeds: dict[str, Floats]) -> Iterator[Floats]:
        """One difference per unit."""
        if self.contrast.by is not None:
            yield from _within(means, speeds, self.contrast.share)
            return
        tasks, arms = self.contrast.tasks, self.contrast.arms
        sides: list[dict[Any, Floats]] = []
        for which in (0, 1):
            if tasks is not None:
                kept = [m for m in means if m.task == tasks[which]]
                sides.append(_episode_means(kept, lambda m: m.seed))
            elif arms is not None:
                kept = [m for m in means if m.arm == arms[which]]
                sides.append(_episode_means(kept, lambda m: (m.task, m.seed)))
        shared = [unit for unit in sides[0] if unit in sides[1]]
        if not shared:
            raise UnusableActivations(
                f"no pair of recorded episodes for {self.contrast.about}: both sides need the same "
                f"seeds; there are {len(sides[0])} and {len(sides[1])} episodes"
            )
        for unit in shared:
            yield sides[1][unit] - sides[0][unit]

    def _direction(self, point: str, difference: MeanDifference, means: list[_Moment]) -> Direction:
        unit = difference.vector / np.linalg.norm(difference.vector)
        spread = float(np.std(np.stack([m.value for m in means]) @ unit))
        found_by = {
            "analysis": self.kind,
            "contrast": self.contrast.model_dump(mode="json", exclude_none=True),
            "n": difference.n,
            "p": difference.p,
        }
        vector = difference.vector.astype(np.float32)
        return Direction(point, point, vector, spread, self.contrast.about, found_by)

    def _result(self, found: dict[str, MeanDifference], path: str) -> AnalysisResult:
        edits: dict[str, tuple[dict[str, Any], ...]] = {}
        for point in found:
            shared = {
                "at": [point],
                "direction": {"file": path, "name": point},
                "relative": True,
                **({"tokens": list(self.tokens)} if self.tokens else {}),
            }
            edits[point] = ({"kind": "steer", **shared, "strength": self.strength},)
            loop = {"quantity": "height", "target": 0.2, "gain": 1.0}
            edits[f"{point} held"] = ({"kind": "steer_to", **shared, **loop},)
        rows = tuple(
            (f"`{p}`", float(np.linalg.norm(d.vector)), Cell(estimate=d.agreement), d.n, d.p)
            for p, d in found.items()
        )
        table = Table(
            title=f"Directions: {self.contrast.about}",
            caption="Agreement: share of units whose difference points along the mean of the "
            "others (0.5 by chance). p: sign flips of whole units; not corrected for the number "
            "of points.",
            columns=("hook point", "norm of the mean", "agreement", "units", "p"),
            rows=rows,
        )
        blocks: tuple[Block, ...] = (table,)
        clear = [p for p, d in found.items() if d.p * len(found) <= 0.05]
        sentence = (
            f"{self.contrast.about}: the difference of means is more than chance at "
            f"{len(clear)} of {len(found)} hook points (sign flips, Bonferroni, p <= 0.05)."
        )
        return AnalysisResult(
            edits=edits,
            sentences=(sentence,),
            blocks=blocks,
            unresolved=(
                "A difference of means says what differs, not what the policy uses: the steered "
                "arms say that.",
            ),
            data={"file": path, "points": list(found)},
        )


@dataclass(frozen=True, eq=False)
class _Moment:
    """The mean activation of one inference of one episode."""

    arm: str
    task: str
    seed: int
    episode: str
    step: int
    value: Floats


def _moments(arm: str, rows: Rows) -> list[_Moment]:
    """Rows averaged over the tokens and calls of each (episode, step)."""
    if not len(rows):
        return []
    episodes, steps = rows.episode_of(), rows.column("step")
    codes = np.unique(episodes, return_inverse=True)[1]
    keys, where = np.unique(np.stack([codes, steps], 1), axis=0, return_inverse=True)
    values = rows.values.double().numpy()
    sums = np.zeros((len(keys), values.shape[1]))
    np.add.at(sums, where.ravel(), values)
    counts = np.bincount(where.ravel(), minlength=len(keys))
    first = np.unique(where.ravel(), return_index=True)[1]
    tasks, seeds = rows.label("task"), rows.label("seed")
    return [
        _Moment(arm, str(tasks[i]), int(seeds[i]), str(episodes[i]), int(steps[i]), total / count)
        for i, total, count in zip(first, sums, counts, strict=True)
    ]


def _episode_means(moments: Iterable[_Moment], unit: Any) -> dict[Any, Floats]:
    grouped: dict[Any, list[Floats]] = {}
    for moment in moments:
        grouped.setdefault(unit(moment), []).append(moment.value)
    return {key: np.mean(values, axis=0) for key, values in grouped.items()}


def _within(moments: list[_Moment], series: dict[str, Floats], share: float) -> Iterator[Floats]:
    """Upper minus lower share of each episode's moments; episodes too short are left out."""
    by_episode: dict[str, list[_Moment]] = {}
    for moment in moments:
        by_episode.setdefault(moment.episode, []).append(moment)
    for episode, held in by_episode.items():
        held = sorted((m for m in held if m.step < len(series[episode])), key=lambda m: m.step)
        steps = [m.step for m in held] + [len(series[episode])]
        during = [series[episode][a:b].mean() for a, b in pairwise(steps)]
        count = int(share * len(held))
        if count == 0 or np.ptp(during) == 0:
            continue
        order = np.argsort(during, kind="stable")
        values = np.stack([m.value for m in held])
        yield values[order[-count:]].mean(0) - values[order[:count]].mean(0)


def _quantities(context: AnalysisContext, quantity: str) -> dict[str, Floats]:
    """The quantity during every step, by episode."""
    found: dict[str, Floats] = {}
    records: Iterable[EpisodeRecord] = (r for held in context.records.values() for r in held)
    for record in records:
        path = EpisodeArrays.load(context.run_dir, record).get("end_effector")
        if path is not None:
            found[record.plan.episode] = hand_series(quantity, path.astype(np.float64), hz=1.0)
    if not found:
        raise UnusableActivations(f"no episode says where the hand was: {quantity} is unknown")
    return found
