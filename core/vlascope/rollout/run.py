"""Running a set of episodes: what is finished is skipped, what finishes is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from vlascope.adapter import VLAAdapter
from vlascope.interventions import Intervention
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan, EpisodeRecord
from vlascope.rollout.film import Film
from vlascope.rollout.flight import Planned
from vlascope.rollout.guard import EditGuard
from vlascope.rollout.job import Job
from vlascope.rollout.ledger import Ledger
from vlascope.rollout.lock import exclusive
from vlascope.rollout.pool import EnvPool
from vlascope.rollout.progress import Reporter, reporter
from vlascope.rollout.sight import Perturb
from vlascope.rollout.spec import BenchmarkSpec

__all__ = ["Play", "complete", "run_episodes"]

Play = Callable[[Sequence[Planned], Ledger, EditGuard, Reporter], None]
"""Plays and commits what is missing: `Job.play`, or something that has others do it."""


def run_episodes(
    adapter: VLAAdapter,
    benchmark: BenchmarkSpec,
    plans: Sequence[EpisodePlan],
    run_dir: str | Path,
    *,
    interventions: Sequence[Intervention] = (),
    record: RecordSpec | None = None,
    perturb: Perturb | None = None,
    film: Film | None = None,
    batch: Literal["greedy"] | int = "greedy",
    workers: int = 2,
    envs_per_worker: int = 2,
    timeout: float = 120.0,
    start_timeout: float = 300.0,
    max_failures: int = 8,
    environments: EnvPool | None = None,
    progress: bool = True,
    title: str = "episodes",
) -> list[EpisodeRecord]:
    """Play every plan that is not finished yet, and give back the records of all of them.

    Each episode is committed as it finishes: its activations and arrays, then one line of
    `episodes.jsonl`. Killed at any moment and called again, it plays what is missing and repeats
    nothing. An episode that another arm of this directory has played alike is taken from there
    (`EpisodeRecord.shared`), unless it is to be recorded. Noise depends on (seed, chunk) alone, so
    any batch size gives the same episodes up to floating point, and `batch=1` replays them bit for
    bit.

    Args:
        adapter: the policy.
        benchmark: what to play, by registered name; every worker builds its own.
        plans: the episodes, in the order they are begun.
        run_dir: where records go; several calls (arms) may share it, one at a time.
        interventions: edits at work in every episode of this call.
        record: activations to keep, in `run_dir/activations`.
        perturb: what is done to the pictures: perturbations or their data, one or a list; or a
            function of (camera, picture), `"package.module:function"` or something picklable from
            an importable module. A plan's own perturbation takes its place.
        film: which pictures to keep.
        batch: `"greedy"` for all episodes that need a chunk now, or at most that many; 1 is
            exact.
        workers: environment processes.
        envs_per_worker: environments in each; all of them together bound the batch.
        timeout: seconds an environment may take for one chunk before it counts as hung.
        start_timeout: seconds a worker may take to build the benchmark.
        max_failures: environment failures in a row after which the run stops.
        environments: what `open_environments` opened, to be used instead of starting workers.
        progress: show progress on standard error.
        title: what the progress is called.

    Returns:
        One record per plan, in the order of `plans`.

    Raises:
        IncompatibleError: the policy does not fit the benchmark.
        UnknownName: no such benchmark, task or hook point.
        EditMisfired: an intervention edits nothing, or a perturbation changes no picture.
        EnvironmentFailed: the benchmark cannot be built, or fails again and again.
        RunLocked: another process writes this directory.
        DiskFull: no space left; what was finished is kept.
        CorruptFile: `episodes.jsonl` holds something else.
    """
    job = Job(
        adapter=adapter,
        benchmark=benchmark,
        run_dir=Path(run_dir),
        interventions=tuple(interventions),
        record=record,
        perturb=perturb,
        film=film,
        max_batch=_max_batch(batch),
        workers=workers,
        envs_per_worker=envs_per_worker,
        timeout=timeout,
        start_timeout=start_timeout,
        max_failures=max_failures,
        environments=environments,
    )
    return complete(job, plans, job.play, slots=job.slots, progress=progress, title=title)


def complete(
    job: Job,
    plans: Sequence[EpisodePlan],
    play: Play,
    *,
    slots: int,
    progress: bool,
    title: str,
) -> list[EpisodeRecord]:
    """Have `play` finish what is missing in a job's directory, and give back every plan's record.

    Args:
        job: what is played.
        plans: the episodes, in the order they are begun.
        play: plays and commits what it is given, here or elsewhere.
        slots: how many episodes are under way at once.
        progress: show progress on standard error.
        title: what the progress is called.
    """
    planned = job.planned(plans)
    with exclusive(job.run_dir):
        ledger = Ledger(job.run_dir)
        guard = EditGuard(job.interventions, min(slots, len(plans)))
        finished = [r for p in planned if (r := ledger.finished(p.digest)) is not None]
        for earlier in finished:
            guard.count(earlier)
        store = job.stored()
        missing = [
            p
            for p in planned
            if ledger.finished(p.digest) is None
            or (store is not None and p.plan.episode not in store)
        ]
        for p in missing:
            if (taken := job.shared(p, ledger)) is not None:
                guard.count(taken)
        missing = [p for p in missing if ledger.finished(p.digest) is None or store is not None]
        shown = reporter(title, total=len(plans), skipped=len(plans) - len(missing), show=progress)
        if missing:
            play(missing, ledger, guard, shown)
        guard.close()
        return [r for p in planned if (r := ledger.get(p.digest)) is not None]


def _max_batch(batch: str | int) -> int | None:
    if batch == "greedy":
        return None
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch is 'greedy' or a number of rows, at least 1; got {batch!r}")
    return batch
