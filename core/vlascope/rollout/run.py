"""Running a set of episodes: what is finished is skipped, what finishes is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlascope import plugins
from vlascope.adapter import VLAAdapter
from vlascope.benchmark import ImageEdit
from vlascope.intervening import intervene
from vlascope.interventions import Intervention
from vlascope.recording import RecordSpec
from vlascope.recording import record as record_activations
from vlascope.records import EpisodePlan, EpisodeRecord
from vlascope.rollout.film import Film
from vlascope.rollout.flight import Planned
from vlascope.rollout.guard import EditGuard
from vlascope.rollout.identity import digest_context, policy_identity
from vlascope.rollout.ledger import Ledger
from vlascope.rollout.lock import exclusive
from vlascope.rollout.loop import RolloutLoop
from vlascope.rollout.messages import Setup
from vlascope.rollout.pool import EnvPool
from vlascope.rollout.progress import Reporter, reporter
from vlascope.rollout.recorder import Recorder
from vlascope.rollout.sink import EpisodeSink, Header
from vlascope.rollout.spec import BenchmarkSpec
from vlascope.rollout.versions import own_versions
from vlascope.specs import check_compatible
from vlascope.store import ActivationStore, Provenance
from vlascope.store.durable import sweep_temporary

__all__ = ["ACTIVATIONS", "run_episodes"]

ACTIVATIONS = "activations"
"""The folder of a run that holds recorded activations."""


def run_episodes(
    adapter: VLAAdapter,
    benchmark: BenchmarkSpec,
    plans: Sequence[EpisodePlan],
    run_dir: str | Path,
    *,
    interventions: Sequence[Intervention] = (),
    record: RecordSpec | None = None,
    perturb: str | ImageEdit | None = None,
    film: Film | None = None,
    batch: Literal["greedy"] | int = "greedy",
    workers: int = 2,
    envs_per_worker: int = 2,
    timeout: float = 120.0,
    start_timeout: float = 300.0,
    max_failures: int = 8,
    progress: bool = True,
    title: str = "episodes",
) -> list[EpisodeRecord]:
    """Play every plan that is not finished yet, and give back the records of all of them.

    Each episode is committed as it finishes: its activations and arrays, then one line of
    `episodes.jsonl`. Killed at any moment and called again, it plays what is missing and repeats
    nothing. Noise depends on (seed, chunk) alone, so any batch size gives the same episodes up
    to floating point, and `batch=1` replays them bit for bit.

    Args:
        adapter: the policy.
        benchmark: what to play, by registered name; every worker builds its own.
        plans: the episodes, in the order they are begun.
        run_dir: where records go; several calls (arms) may share it, one at a time.
        interventions: edits at work in every episode of this call.
        record: activations to keep, in `run_dir/activations`.
        perturb: an edit of every picture: `"package.module:function"`, or something picklable
            from an importable module.
        film: which pictures to keep.
        batch: `"greedy"` for all episodes that need a chunk now, or at most that many; 1 is
            exact.
        workers: environment processes.
        envs_per_worker: environments in each; all of them together bound the batch.
        timeout: seconds an environment may take for one chunk before it counts as hung.
        start_timeout: seconds a worker may take to build the benchmark.
        max_failures: environment failures in a row after which the run stops.
        progress: show progress on standard error.
        title: what the progress is called.

    Returns:
        One record per plan, in the order of `plans`.

    Raises:
        IncompatibleError: the policy does not fit the benchmark.
        UnknownName: no such benchmark, task or hook point.
        EditMisfired: an intervention edits nothing.
        EnvironmentFailed: the benchmark cannot be built, or fails again and again.
        RunLocked: another process writes this directory.
        DiskFull: no space left; what was finished is kept.
        CorruptFile: `episodes.jsonl` holds something else.
    """
    job = _Job(
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
    )
    planned = job.planned(plans)
    with exclusive(job.run_dir):
        ledger = Ledger(job.run_dir)
        guard = EditGuard(job.interventions, min(workers * envs_per_worker, len(plans)))
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
        shown = reporter(title, total=len(plans), skipped=len(plans) - len(missing), show=progress)
        if missing:
            job.play(missing, ledger, guard, shown)
        guard.close()
        return [r for p in planned if (r := ledger.get(p.digest)) is not None]


@dataclass(frozen=True)
class _Job:
    """One call of `run_episodes`."""

    adapter: VLAAdapter
    benchmark: BenchmarkSpec
    run_dir: Path
    interventions: tuple[Intervention, ...]
    record: RecordSpec | None
    perturb: str | ImageEdit | None
    film: Film | None
    max_batch: int | None
    workers: int
    envs_per_worker: int
    timeout: float
    start_timeout: float
    max_failures: int

    @property
    def mode(self) -> Literal["exact", "batched"]:
        """Whether a replay is bit for bit."""
        return "exact" if self.max_batch == 1 else "batched"

    def planned(self, plans: Sequence[EpisodePlan]) -> list[Planned]:
        """The plans with their tasks and digests; every name is checked before anything runs."""
        env = plugins.benchmark_class(self.benchmark.name)
        counts = Counter(plan.episode for plan in plans)
        twice = [name for name, n in counts.items() if n > 1]
        if twice:
            raise ValueError(f"planned twice: {', '.join(twice[:5])}; vary arm, task or seed")
        context = digest_context(
            self.adapter,
            self.benchmark,
            self.run_dir,
            interventions=self.interventions,
            record=self.record,
            perturb=self.perturb,
            batch_mode=self.mode,
        )
        return [Planned(plan, env.task(plan.task), plan.digest(**context)) for plan in plans]

    def play(
        self, missing: Sequence[Planned], ledger: Ledger, guard: EditGuard, shown: Reporter
    ) -> None:
        """Play what is missing, with hooks and environments open for as long as it takes."""
        for folder in ("episodes", "frames", "videos"):
            sweep_temporary(self.run_dir / folder)
        with ExitStack() as stack:
            editing = stack.enter_context(
                intervene(self.adapter, *self.interventions, must_fire=False)
            )
            recorder = self._recorder(stack)
            pool = stack.enter_context(self._pool(len(missing)))
            introduction = pool.introduction()
            check_compatible(self.adapter.info, introduction.info)
            header = Header(
                policy_identity(self.adapter),
                str(self.benchmark),
                self.mode,
                {**own_versions(), **introduction.versions},
            )
            stack.enter_context(shown)
            sink = EpisodeSink(self.run_dir, ledger, header, guard, editing, recorder, shown)
            loop = RolloutLoop(
                self.adapter,
                pool,
                missing,
                sink,
                max_batch=self.max_batch,
                film=self.film,
                max_failures=self.max_failures,
            )
            loop.run()
            sink.flush()

    def stored(self) -> ActivationStore | None:
        """Where activations go, if they are recorded."""
        if self.record is None:
            return None
        provenance = Provenance.of(self.adapter, self.record, benchmark=str(self.benchmark))
        return ActivationStore.create(self.run_dir / ACTIVATIONS, provenance)

    def _recorder(self, stack: ExitStack) -> Recorder | None:
        """Opened after the interventions, so that it sees what flows on from them."""
        store = self.stored()
        if store is None or self.record is None:
            return None
        return Recorder(stack.enter_context(record_activations(self.adapter, self.record)), store)

    def _pool(self, episodes: int) -> EnvPool:
        return EnvPool(
            Setup(self.benchmark.name, self.benchmark.options, self.perturb),
            workers=min(self.workers, episodes),
            per_worker=self.envs_per_worker,
            timeout=self.timeout,
            start_timeout=self.start_timeout,
            logs=self.run_dir / "workers",
        )


def _max_batch(batch: str | int) -> int | None:
    if batch == "greedy":
        return None
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch is 'greedy' or a number of rows, at least 1; got {batch!r}")
    return batch
