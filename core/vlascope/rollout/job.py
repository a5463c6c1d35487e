"""One call of `run_episodes`: what it plays, and everything that is open while it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vlascope import plugins
from vlascope.adapter import VLAAdapter
from vlascope.intervening import intervene
from vlascope.interventions import Intervention
from vlascope.recording import RecordSpec
from vlascope.recording import record as record_activations
from vlascope.records import EpisodePlan, EpisodeRecord
from vlascope.rollout.environments import open_environments
from vlascope.rollout.film import Film
from vlascope.rollout.flight import Planned
from vlascope.rollout.guard import EditGuard
from vlascope.rollout.identity import Contents, digest_context, policy_identity
from vlascope.rollout.ledger import Ledger
from vlascope.rollout.loop import RolloutLoop
from vlascope.rollout.messages import Setup
from vlascope.rollout.pool import EnvPool
from vlascope.rollout.progress import Reporter
from vlascope.rollout.reaching import reaching
from vlascope.rollout.recorder import Recorder
from vlascope.rollout.sight import Perturb, check_cameras, with_data
from vlascope.rollout.sink import EpisodeSink, Header
from vlascope.rollout.spec import BenchmarkSpec
from vlascope.rollout.versions import benchmark_versions, own_versions
from vlascope.specs import check_compatible
from vlascope.store import ActivationStore, Provenance
from vlascope.store.durable import sweep_temporary

__all__ = ["ACTIVATIONS", "Job"]

ACTIVATIONS = "activations"
"""The folder of a run that holds recorded activations."""


@dataclass(frozen=True)
class Job:
    """One call of `run_episodes`."""

    adapter: VLAAdapter
    benchmark: BenchmarkSpec
    run_dir: Path
    interventions: tuple[Intervention, ...]
    record: RecordSpec | None
    perturb: Perturb | None
    film: Film | None
    max_batch: int | None
    workers: int
    envs_per_worker: int
    timeout: float
    start_timeout: float
    max_failures: int
    environments: EnvPool | None

    @property
    def slots(self) -> int:
        """How many episodes are under way at once."""
        return self.environments.slots if self.environments else self.workers * self.envs_per_worker

    @property
    def mode(self) -> Literal["exact", "batched"]:
        """Whether a replay is bit for bit."""
        return "exact" if self.max_batch == 1 else "batched"

    def planned(self, plans: Sequence[EpisodePlan]) -> list[Planned]:
        """The plans with their tasks and digests; every name is checked before anything runs."""
        env = plugins.benchmark_class(self.benchmark.name)
        plans = [with_data(plan, self.perturb) for plan in plans]
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
        contents = Contents.of(context, self.interventions, self.run_dir)
        return [
            replace(p, content=contents.digest(p.plan, p.instruction))
            for p in (Planned(plan, env.task(plan.task), plan.digest(**context)) for plan in plans)
        ]

    def shared(self, planned: Planned, ledger: Ledger) -> EpisodeRecord | None:
        """The episode as another arm has played it, committed as this one; None to be played.

        An episode to be recorded or filmed is played unless the other was filmed too.
        """
        alike = ledger.alike(planned.content)
        filmed = self.film is not None and self.film.wants(planned.plan.task, planned.plan.seed)
        if alike is None or self.record is not None or (filmed and alike.frames is None):
            return None
        own = {"plan": planned.plan, "digest": planned.digest, "seconds": 0.0}
        record = alike.model_copy(update={**own, "shared": alike.shared or alike.plan.episode})
        ledger.append(record)
        return record

    def play(
        self, missing: Sequence[Planned], ledger: Ledger, guard: EditGuard, shown: Reporter
    ) -> None:
        """Play what is missing, with hooks and environments open for as long as it takes."""
        for folder in ("episodes", "frames", "videos"):
            sweep_temporary(self.run_dir / folder)
        missing = reaching(self.adapter, missing)
        with ExitStack() as stack:
            editing = stack.enter_context(
                intervene(self.adapter, *self.interventions, must_fire=False)
            )
            recorder = self._recorder(stack)
            pool = stack.enter_context(self._pool(len(missing)))
            check_compatible(self.adapter.info, pool.info)
            check_cameras([p.plan for p in missing], self.perturb, self.adapter.info.cameras)
            header = Header(
                policy_identity(self.adapter),
                str(self.benchmark),
                self.mode,
                {**benchmark_versions(self.benchmark.name), **own_versions()},
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
                perturb=self.perturb,
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

    def _pool(self, episodes: int) -> AbstractContextManager[EnvPool]:
        if self.environments is not None:
            return self.environments.lent(Setup(self.benchmark.name, self.benchmark.options))
        return open_environments(
            self.benchmark,
            self.run_dir / "workers",
            workers=min(self.workers, episodes),
            envs_per_worker=self.envs_per_worker,
            timeout=self.timeout,
            start_timeout=self.start_timeout,
        )
