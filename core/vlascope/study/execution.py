"""Running a study: arm by arm, resumable, one arm's failure leaving the others alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from vlascope.errors import DiskFull, EditMisfired, EditUnavailable, UnknownName, VlascopeError
from vlascope.records import EpisodeRecord
from vlascope.study.analysing import Analysing
from vlascope.study.choosing import of_recipes
from vlascope.study.design import Design, design
from vlascope.study.editing import found
from vlascope.study.executors import Executor, opened_executors
from vlascope.study.expansion import analysis_of, expanded
from vlascope.study.from_analysis import analyses_of
from vlascope.study.groups import WorkGroup
from vlascope.study.placing import edited_points, hooked_where_possible, placed
from vlascope.study.run_directory import ArmOutcome, claim, keep_outcome
from vlascope.study.schema import Study
from vlascope.study.stopping import played_until_clear

__all__ = ["Outcome", "Shard", "run_study", "verify_receipts"]

Say = Callable[[str], None]
Shard = tuple[int, int]
"""0-based index, and how many there are."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: by policy and arm."""

    arms: dict[str, dict[str, ArmOutcome]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every arm and analysis of every policy that it applies to is complete."""
        return all(
            o.status in ("ok", "not_applicable")
            for arms in self.arms.values()
            for o in arms.values()
        )

    @property
    def complaints(self) -> list[str]:
        """One line per arm that is not."""
        return [
            f"{policy}, arm {arm}: {o.status}: {o.error}"
            for policy, arms in self.arms.items()
            for arm, o in arms.items()
            if o.status not in ("ok", "not_applicable")
        ]


def run_study(
    study: Study,
    run_dir: Path,
    *,
    arms: Sequence[str] = (),
    recipes: Sequence[str] = (),
    shard: Shard | None = None,
    lenient: bool = False,
    progress: bool = True,
    say: Say = print,
) -> Outcome:
    """Play everything that is not finished.

    Args:
        study: checked.
        run_dir: this study's directory; made where it does not exist.
        arms: globs; only these and the recordings they need.
        recipes: by name; only what these add, the plain arm, and what they need.
        shard: play only a part of the (task, seed) pairs, into `run_dir/shards/I-of-N`.
        lenient: account for arms that name hook points a policy does not have, and play the
            others; so is every study of several policies.
        progress: show progress bars.
        say: told what happens, a line each.

    Raises:
        StudyFileError: the directory belongs to another version of the study.
        UnknownName: an edit names a hook point that a policy does not have, or there is no such
            recipe.
    """
    study = expanded(study)
    laid_out = design(study)
    if recipes:
        laid_out = of_recipes(laid_out, recipes)
    if arms:
        laid_out = laid_out.only(arms)
    part = run_dir
    if shard is not None:
        laid_out = laid_out.shard(*shard)
        part = run_dir / "shards" / f"{shard[0] + 1}-of-{shard[1]}"
    claim(run_dir, study)
    lenient = lenient or len(study.policies) > 1
    outcome = Outcome()
    with opened_executors(study, part, progress=progress) as opened:
        for name, choice in study.policies.items():
            with ExitStack() as stack:
                executor = opened(name, choice, stack)
                playing = _Playing(laid_out, name, executor, part, say, lenient)
                outcome.arms[name] = playing.ended
                playing.run()
    return outcome


@dataclass(frozen=True)
class _Playing:
    """One policy's share of a study under way.

    Attributes:
        lenient: whether arms that this policy cannot play are left out, not refused.
        ended: how each arm ended, and each analysis as `analysis:NAME`.
        left_out: by arm, the places that its identity edits do without, and why.
    """

    laid_out: Design
    policy: str
    executor: Executor
    part: Path
    say: Say
    lenient: bool
    ended: dict[str, ArmOutcome] = field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)

    def run(self) -> None:
        """Arm by arm in order, each analysis before the first arm that asks for it."""
        study, adapter = self.laid_out.study, self.executor.adapter
        groups = self._placed()
        for name in study.analyses:
            if set(analysis_of(study, name).arms) <= {g.arm for g in groups}:
                analysis_of(study, name).check(adapter.info)
        analysing = Analysing(study, self.policy, adapter, self.executor.run_dir, self.say)
        for group in groups:
            for name in analyses_of(group.definition.interventions):
                self._keep(f"analysis:{name}", analysing.ensure(name))
            self._keep(group.arm, self._played(group, analysing))
        for name in study.analyses:
            if set(analysis_of(study, name).arms) <= {g.arm for g in groups}:
                self._keep(f"analysis:{name}", analysing.ensure(name))

    def _placed(self) -> list[WorkGroup]:
        """The groups this policy can play, its own layers named; the others are accounted for.

        Raises:
            UnknownName: the policy has no such hook point or depth third, and is not `lenient`.
            IncompatibleError: an edit does not suit the policy.
        """
        kept = []
        adapter = self.executor.adapter
        for group in self.laid_out.groups:
            there = group
            if self.lenient:
                there, self.left_out[group.arm] = hooked_where_possible(group, adapter)
            try:
                own = placed(there, adapter)
            except UnknownName as error:
                if not self.lenient:
                    raise
                self._keep(group.arm, ArmOutcome(status="not_applicable", error=str(error)))
            else:
                kept.append(own)
        return kept

    def _played(self, group: WorkGroup, analysing: Analysing) -> ArmOutcome:
        """Play one arm; its failure is an outcome, not an exception."""
        asked = [f"analysis:{n}" for n in analyses_of(group.definition.interventions)]
        lost = [need for need in (*group.needs, *asked) if self.ended[need].status != "ok"]
        if lost:
            why = f"it reads what {', '.join(lost)} would have left"
            return ArmOutcome(status="skipped", error=why)
        try:
            own = found(group, self.executor.adapter.info.pathways, analysing.results)
            points = edited_points(own, self.executor.adapter)
            records, stopped = played_until_clear(self.executor, self.laid_out, own)
            verify_receipts(own, records)
        except DiskFull:
            raise
        except EditUnavailable as error:
            return ArmOutcome(status="skipped", error=str(error))
        except (VlascopeError, ValidationError) as error:
            return ArmOutcome(status="failed", error=f"{type(error).__name__}: {error}")
        left_out = self.left_out.get(group.arm, {})
        return ArmOutcome(status="ok", hook_points=points, left_out=left_out, stopped=stopped)

    def _keep(self, name: str, outcome: ArmOutcome) -> None:
        if self.ended.get(name) == outcome:
            return
        self.ended[name] = outcome
        keep_outcome(self.part, self.policy, name, outcome)
        if outcome.status in ("failed", "skipped") and not name.startswith("analysis:"):
            self.say(f"{self.policy}, arm {name}: {outcome.status}: {outcome.error}")


def verify_receipts(group: WorkGroup, records: Sequence[EpisodeRecord]) -> None:
    """Check that every edit acted in every episode exactly as often as declared.

    Raises:
        EditMisfired: naming the arm's edit, the episode and both numbers.
    """
    for record in records:
        if record.status != "ok":
            continue
        for edit, receipt in zip(group.definition.interventions, record.receipts, strict=True):
            stops = "stop" in (edit.get("missing"), (edit.get("like") or {}).get("missing"))
            allowed = receipt.mismatches if stops else 0
            if receipt.edits + allowed != receipt.expected:
                raise EditMisfired(
                    f"{receipt.kind} at {', '.join(receipt.at)} edited {receipt.edits} rows of "
                    f"episode {record.plan.episode} where {receipt.expected} were declared "
                    f"({receipt.mismatches} mismatches): check its tokens, steps and source"
                )
