"""Values of metrics by task and seed, for any arm of a finished study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vlascope.study.design import Design
from vlascope.study.groups import Cell, Reference
from vlascope.study.metrics import METRICS, Trio
from vlascope.study.played import Episodes, Played
from vlascope.study.stopping import rule_of

__all__ = ["MayStop", "Measuring"]


class MayStop(dict[Cell, float | None]):
    """Values of an arm that a rule may stop early: only anytime-valid intervals hold for them."""


_UNRELATED = 48
"""Unrelated episodes that an alignment is ranked among."""


@dataclass(frozen=True)
class Measuring:
    """A laid-out study and its episodes.

    Attributes:
        design: what was planned.
        episodes: what was played.
        stopped: by (policy, arm), the seeds that were played of an arm that stopped early.
    """

    design: Design
    episodes: Episodes
    stopped: Mapping[tuple[str, str], frozenset[int]] = field(default_factory=dict)
    _baselines: dict[str, list[Played]] = field(default_factory=dict, repr=False, compare=False)

    def values(
        self,
        policy: str,
        arm: str,
        metric: str,
        tasks: Iterable[str] | None = None,
        *,
        like: str | None = None,
    ) -> dict[Cell, float | None]:
        """A metric by planned cell; None where the episode failed, is missing, or has no value.

        Args:
            policy: by the study's name for it.
            arm: by name.
            metric: one of `METRICS`.
            tasks: only these.
            like: take source episodes from this arm, so that a control is measured against the
                same source as the arm it controls.
        """
        wanted = None if tasks is None else set(tasks)
        early = rule_of(self.design.study, arm) is not None
        found: dict[Cell, float | None] = MayStop() if early else {}
        seeds = self.stopped.get((policy, arm))
        for plan in self.design.group(arm).plans:
            if seeds is not None and plan.seed not in seeds:
                continue
            if wanted is None or plan.task in wanted:
                cell = (plan.task, plan.seed)
                trio = self.trio(policy, arm, cell, like=like)
                found[cell] = None if trio is None else METRICS[metric].measure(trio)
        return found

    def trio(self, policy: str, arm: str, cell: Cell, *, like: str | None = None) -> Trio | None:
        """An episode with its baseline and source; None where it was not played to an end."""
        episode = self.episodes.ok(policy, arm, cell)
        if episode is None:
            return None
        study = self.design.study
        source = self.source(policy, like or arm, cell)
        return Trio(
            episode=episode,
            own=self.episodes.ok(policy, study.baseline_arm, cell),
            source=source,
            unrelated=[] if source is None else self._unrelated(policy, episode, source),
            watched=self.episodes.watched,
            margin=study.report.override_margin,
        )

    def _unrelated(self, policy: str, episode: Played, source: Played) -> list[Played]:
        """The plain arm's episodes of other tasks, as many at most as `_UNRELATED`, spread out."""
        taken = {episode.record.plan.task, source.record.plan.task}
        if policy not in self._baselines:
            found = self.episodes.of(policy, self.design.study.baseline_arm)
            self._baselines[policy] = [e for e in found if e.ok]
        others = [e for e in self._baselines[policy] if e.record.plan.task not in taken]
        return others[:: max(1, -(-len(others) // _UNRELATED))]

    def source(self, policy: str, arm: str, cell: Cell) -> Played | None:
        """The source task's episode of an arm at a cell, in its longest recording."""
        reference = self.design.group(arm).sources.get(cell)
        return None if reference is None else self._played(policy, reference)

    def _played(self, policy: str, reference: Reference) -> Played | None:
        plain = reference.arm.removesuffix(".source")
        for arm in (f"{plain}.source", plain):
            found = self.episodes.ok(policy, arm, (reference.task, reference.seed))
            if found is not None:
                return found
        return None
