"""How far reconstructions move the policy's plans, at moments of held-out episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vlascope import plugins
from vlascope.errors import VlascopeError
from vlascope.interventions import Intervention, RandomDirection, parse_intervention
from vlascope.records import EpisodeRecord
from vlascope.statistics import Estimate, bootstrap_mean
from vlascope.study.analysis import AnalysisContext
from vlascope_sae.evaluation.actions import Plans, mean_ablation
from vlascope_sae.evaluation.ratios import bootstrap_ratio
from vlascope_sae.evaluation.situations import Situation, replayed_situations
from vlascope_sae.recipes.results import ActionError

__all__ = ["Acting"]

Floats = npt.NDArray[np.float64]


@dataclass
class Acting:
    """The policy in the situations of some episodes; they are looked at when first asked for.

    Attributes:
        context: of the analysis.
        records: the episodes.
        most: situations in all.
    """

    context: AnalysisContext
    records: Sequence[EpisodeRecord]
    most: int
    _plans: Plans | str | None = None
    _floors: dict[str, Floats] = field(default_factory=dict)

    def error(self, edit: Mapping[str, Any]) -> dict[str, Any]:
        """`action` of a splice, or `action_missing` where the situations cannot be had again."""
        plans = self._known()
        if isinstance(plans, str):
            return {"action_missing": plans}
        splice = parse_intervention(dict(edit))
        moved, ratio = plans.moved(splice)
        where = {n: getattr(splice, n) for n in ("at", "calls", "tokens")}
        random, _ = plans.moved(RandomDirection(**where, like=splice))
        return {"action": self._judged(plans, moved, random, self._floor(plans, splice), ratio)}

    def _floor(self, plans: Plans, splice: Intervention) -> Floats:
        """By the mean activation; the same for every splice at a place."""
        key = str((splice.at, splice.calls, splice.tokens))
        if key not in self._floors:
            ablate = mean_ablation(plans.adapter, plans.situations, splice)
            self._floors[key], _ = plans.moved(ablate)
        return self._floors[key]

    def _known(self) -> Plans | str:
        if self._plans is None:
            try:
                found = self._situations()
                self._plans = Plans(self.context.adapter, found) if found else "no situation"
            except VlascopeError as error:
                self._plans = str(error)
        return self._plans

    def _situations(self) -> list[Situation]:
        choice = self.context.study.benchmark
        env = plugins.benchmark_class(choice.name)(**choice.options)
        try:
            executed = self.context.adapter.info.executed_steps
            return replayed_situations(
                env, self.context.run_dir, self.records, executed, most=self.most
            )
        finally:
            env.close()

    def _judged(
        self, plans: Plans, moved: Floats, random: Floats, floor: Floats, ratio: float | None
    ) -> ActionError:
        names = [s.moment.episode for s in plans.situations]
        ours, chance, zero = (_by_episode(names, x) for x in (moved, random, floor))
        kept = bootstrap_ratio([zero[n] - ours[n] for n in ours], list(zero.values()))
        return ActionError(
            splice=_mean(ours),
            random=_mean(chance),
            mean=_mean(zero),
            fidelity=kept,
            against_random=_mean({n: ours[n] - chance[n] for n in ours}),
            by_episode=ours,
            situations=len(names),
            dx_ratio=ratio,
        )


def _by_episode(names: Sequence[str], values: Floats) -> dict[str, float]:
    """The mean of each episode's situations."""
    found: dict[str, list[float]] = {}
    for name, value in zip(names, values.tolist(), strict=True):
        found.setdefault(name, []).append(value)
    return {name: float(np.mean(held)) for name, held in found.items()}


def _mean(by_episode: Mapping[str, float]) -> Estimate:
    """Over episodes, which are resampled."""
    return bootstrap_mean({"": list(by_episode.values())})
