"""Running a study: arm by arm, resumable, one arm's failure leaving the others alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import ValidationError

from vlascope.errors import DiskFull, EditMisfired, VlascopeError
from vlascope.loading import load
from vlascope.records import EpisodeRecord
from vlascope.rollout import BenchmarkSpec, Film, open_environments, run_episodes
from vlascope.study.design import Design, design
from vlascope.study.editing import bind, for_policy
from vlascope.study.groups import WorkGroup
from vlascope.study.run_directory import ArmOutcome, claim, keep_outcome
from vlascope.study.schema import PolicyChoice, Study

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter
    from vlascope.interventions.sources import ActivationSource
    from vlascope.rollout.pool import EnvPool

__all__ = ["Executor", "LocalExecutor", "Outcome", "Shard", "load_policy", "run_study"]

Say = Callable[[str], None]
Shard = tuple[int, int]
"""0-based index, and how many there are."""


class Executor(Protocol):
    """Plays the episodes of one arm of one policy, wherever that may be."""

    def run(self, design: Design, group: WorkGroup) -> list[EpisodeRecord]:
        """The records of all of the group's plans, playing only what is not finished."""
        ...


@dataclass(frozen=True)
class LocalExecutor:
    """Plays on this machine: environments in worker processes, the policy in this one.

    Attributes:
        adapter: the policy.
        run_dir: where its episodes go.
        environments: started once and shared by all arms; None to start them for each.
        progress: show progress bars.
    """

    adapter: VLAAdapter
    run_dir: Path
    environments: EnvPool | None = None
    progress: bool = True

    def run(self, design: Design, group: WorkGroup) -> list[EpisodeRecord]:
        """Play what is missing."""
        study = design.study
        return run_episodes(
            self.adapter,
            _benchmark(study),
            group.plans,
            self.run_dir,
            interventions=bind(design, group, self._recorded),
            record=group.record,
            perturb=group.definition.perturb,
            film=_film(study, group),
            batch=1 if study.batch == "exact" else "greedy",
            workers=study.workers,
            envs_per_worker=study.envs_per_worker,
            environments=self.environments,
            progress=self.progress,
            title=group.arm,
        )

    def _recorded(self) -> ActivationSource:
        from vlascope.store import ActivationStore

        return ActivationStore.open(self.run_dir / "activations")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: by policy and arm."""

    arms: dict[str, dict[str, ArmOutcome]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every arm of every policy is complete."""
        return all(o.status == "ok" for arms in self.arms.values() for o in arms.values())

    @property
    def complaints(self) -> list[str]:
        """One line per arm that is not."""
        return [
            f"{policy}, arm {arm}: {o.status}: {o.error}"
            for policy, arms in self.arms.items()
            for arm, o in arms.items()
            if o.status != "ok"
        ]


def load_policy(choice: PolicyChoice) -> VLAAdapter:
    """The policy a study chose, loaded."""
    return load(
        choice.adapter,
        choice.checkpoint,
        device=choice.device,
        dtype=choice.dtype,
        **choice.options,
    )


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
    laid_out = design(study)
    if arms:
        laid_out = laid_out.only(arms)
    part = run_dir
    if shard is not None:
        laid_out = laid_out.shard(*shard)
        part = run_dir / "shards" / f"{shard[0] + 1}-of-{shard[1]}"
    claim(run_dir, study)
    outcome = Outcome()
    with open_environments(
        _benchmark(study),
        part / "workers",
        workers=study.workers,
        envs_per_worker=study.envs_per_worker,
    ) as environments:
        for name, choice in study.policies.items():
            adapter = load_policy(choice)
            own = for_policy(laid_out, adapter.info.pathways)
            points = _hook_points(adapter, own)
            executor = LocalExecutor(adapter, part / name, environments, progress)
            ended: dict[str, ArmOutcome] = {}
            outcome.arms[name] = ended
            for group in own.groups:
                found = _run_group(executor, own, group, ended)
                ended[group.arm] = found.model_copy(update={"hook_points": points[group.arm]})
                keep_outcome(part, name, group.arm, ended[group.arm])
                if found.status != "ok":
                    say(f"{name}, arm {group.arm}: {found.status}: {found.error}")
    return outcome


def _run_group(
    executor: Executor, own: Design, group: WorkGroup, before: dict[str, ArmOutcome]
) -> ArmOutcome:
    """Run one arm; its failure is an outcome, not an exception."""
    lost = [need for need in group.needs if before[need].status != "ok"]
    if lost:
        why = f"it reads what {', '.join(lost)} would have recorded"
        return ArmOutcome(status="skipped", error=why)
    try:
        records = executor.run(own, group)
        verify_receipts(group, records)
    except DiskFull:
        raise
    except (VlascopeError, ValidationError) as error:
        return ArmOutcome(status="failed", error=f"{type(error).__name__}: {error}")
    return ArmOutcome(status="ok")


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


def _hook_points(adapter: VLAAdapter, own: Design) -> dict[str, list[list[str]]]:
    """By arm and edit, the hook points its globs name; refuses globs that name none."""
    return {
        group.arm: [
            [str(p) for p in adapter.match(edit["at"])] for edit in group.definition.interventions
        ]
        for group in own.groups
    }


def _benchmark(study: Study) -> BenchmarkSpec:
    return BenchmarkSpec(name=study.benchmark.name, options=study.benchmark.options)


def _film(study: Study, group: WorkGroup) -> Film | None:
    options = study.report
    shown: Literal[True, False] = (
        options.strip_arms is None or group.arm in options.strip_arms
    ) and group.role != "source"
    if not options.strips or not shown:
        return None
    pairs = [pair.rpartition("/") for pair in options.strips]
    return Film(
        frames=options.frames,
        only=frozenset((task, int(seed)) for task, _, seed in pairs),
        view=options.view,
        video=options.video,
    )
