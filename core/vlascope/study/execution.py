"""Running a study: arm by arm, resumable, one arm's failure leaving the others alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from vlascope.errors import DiskFull, EditMisfired, EditUnavailable, UnknownName, VlascopeError
from vlascope.interventions import parse_intervention
from vlascope.recording import ActivationCache, RecordSpec
from vlascope.records import EpisodeRecord
from vlascope.study.analysing import Analysing
from vlascope.study.design import Design, design
from vlascope.study.editing import expanded_for, found
from vlascope.study.executors import Executor, opened_executors
from vlascope.study.expansion import analysis_of, expanded
from vlascope.study.from_analysis import FROM_ANALYSIS, analyses_of
from vlascope.study.groups import WorkGroup
from vlascope.study.run_directory import ArmOutcome, claim, keep_outcome
from vlascope.study.schema import Study
from vlascope.study.stopping import played_until_clear

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter

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
    shard: Shard | None = None,
    progress: bool = True,
    say: Say = print,
) -> Outcome:
    """Play everything that is not finished.

    Args:
        study: checked.
        run_dir: this study's directory; made where it does not exist.
        arms: globs; only these and the recordings they need.
        shard: play only a part of the (task, seed) pairs, into `run_dir/shards/I-of-N`.
        progress: show progress bars.
        say: told what happens, a line each.

    Raises:
        StudyFileError: the directory belongs to another version of the study.
        UnknownName: an edit names a hook point that a policy does not have.
    """
    study = expanded(study)
    laid_out = design(study)
    if arms:
        laid_out = laid_out.only(arms)
    part = run_dir
    if shard is not None:
        laid_out = laid_out.shard(*shard)
        part = run_dir / "shards" / f"{shard[0] + 1}-of-{shard[1]}"
    claim(run_dir, study)
    outcome = Outcome()
    with opened_executors(study, part, progress=progress) as opened:
        for name, choice in study.policies.items():
            with ExitStack() as stack:
                executor = opened(name, choice, stack)
                playing = _Playing(laid_out, name, executor, part, say)
                outcome.arms[name] = playing.ended
                playing.run()
    return outcome


@dataclass(frozen=True)
class _Playing:
    """One policy's share of a study under way.

    Attributes:
        ended: how each arm ended, and each analysis as `analysis:NAME`.
    """

    laid_out: Design
    policy: str
    executor: Executor
    part: Path
    say: Say
    ended: dict[str, ArmOutcome] = field(default_factory=dict)

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
            UnknownName: the study's only policy has no such hook point or depth third.
            IncompatibleError: an edit does not suit the policy.
        """
        placed = []
        for group in self.laid_out.groups:
            try:
                own = expanded_for(group, self.executor.adapter.info.pathways)
                own = _recording_what_is_there(own, self.executor.adapter)
                self._check(own)
            except UnknownName as error:
                if len(self.laid_out.study.policies) == 1:
                    raise
                self._keep(group.arm, ArmOutcome(status="not_applicable", error=str(error)))
            else:
                placed.append(own)
        return placed

    def _check(self, group: WorkGroup) -> list[list[str]]:
        """The hook points of every edit that is known by now; each edit has its say on them."""
        found = []
        for edit in group.definition.interventions:
            if edit["kind"] == FROM_ANALYSIS:
                continue
            points = self.executor.adapter.match(edit["at"])
            parse_intervention(_without_source(edit)).check(self.executor.adapter.info, points)
            found.append([str(p) for p in points])
        return found

    def _played(self, group: WorkGroup, analysing: Analysing) -> ArmOutcome:
        """Play one arm; its failure is an outcome, not an exception."""
        asked = [f"analysis:{n}" for n in analyses_of(group.definition.interventions)]
        lost = [need for need in (*group.needs, *asked) if self.ended[need].status != "ok"]
        if lost:
            why = f"it reads what {', '.join(lost)} would have left"
            return ArmOutcome(status="skipped", error=why)
        try:
            own = found(group, self.executor.adapter.info.pathways, analysing.results)
            points = self._check(own)
            records, stopped = played_until_clear(self.executor, self.laid_out, own)
            verify_receipts(own, records)
        except DiskFull:
            raise
        except EditUnavailable as error:
            return ArmOutcome(status="skipped", error=str(error))
        except (VlascopeError, ValidationError) as error:
            return ArmOutcome(status="failed", error=f"{type(error).__name__}: {error}")
        return ArmOutcome(status="ok", hook_points=points, stopped=stopped)

    def _keep(self, name: str, outcome: ArmOutcome) -> None:
        if self.ended.get(name) == outcome:
            return
        self.ended[name] = outcome
        keep_outcome(self.part, self.policy, name, outcome)
        if outcome.status in ("failed", "skipped") and not name.startswith("analysis:"):
            self.say(f"{self.policy}, arm {name}: {outcome.status}: {outcome.error}")


def _without_source(edit: Mapping[str, Any]) -> dict[str, Any]:
    """The edit with nothing recorded yet, to be asked whether it suits the policy."""
    found = dict(edit)
    if isinstance(edit.get("source"), Mapping) and "arm" in edit["source"]:
        found["source"] = ActivationCache({})
    if isinstance(edit.get("like"), Mapping):
        found["like"] = _without_source(edit["like"])
    return found


def _recording_what_is_there(group: WorkGroup, adapter: VLAAdapter) -> WorkGroup:
    """The group without the globs to record that another policy's hook points go by.

    Raises:
        UnknownName: the policy has none of them.
    """
    if group.record is None:
        return group
    there = tuple(g for g in group.record.at if _names(adapter, g)) or group.record.at
    adapter.match(there)
    record = RecordSpec.model_validate({**group.record.model_dump(), "at": there})
    return replace(group, record=record)


def _names(adapter: VLAAdapter, glob: str) -> bool:
    try:
        return bool(adapter.match(glob))
    except UnknownName:
        return False


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
