"""A study's episodes, played by Ray actors and committed by the driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vlascope.records import EpisodePlan, EpisodeRecord
from vlascope.rollout.flight import Planned
from vlascope.rollout.guard import EditGuard
from vlascope.rollout.job import Job
from vlascope.rollout.ledger import Ledger
from vlascope.rollout.progress import Reporter
from vlascope.rollout.run import complete
from vlascope.store.durable import sweep_temporary
from vlascope.study.design import Design
from vlascope.study.editing import bind
from vlascope.study.executors import benchmark_of, film_of, load_policy
from vlascope.study.groups import WorkGroup
from vlascope.study.schema import PolicyChoice, Study
from vlascope.units.committing import UnitSink
from vlascope.units.player import Assignment
from vlascope.units.ray_fleet import FleetOptions, RayFleet, Seat
from vlascope.units.unit import cut

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter
    from vlascope.interventions.sources import ActivationSource

__all__ = ["RayExecutor", "open_ray"]

_TIMEOUT, _START_TIMEOUT, _MAX_FAILURES = 120.0, 300.0, 8


@dataclass(frozen=True)
class RayExecutor:
    """Plays on a Ray cluster: each actor holds the policy and environments of its own.

    Attributes:
        adapter: the policy as the driver holds it, for names, checks and analyses.
        run_dir: where its episodes go; written by the driver alone. Arms that read recordings
            need it at the same path on every node.
        fleet: the actors.
        progress: show progress bars.
    """

    adapter: VLAAdapter
    run_dir: Path
    fleet: RayFleet
    progress: bool = True

    def run(
        self, design: Design, group: WorkGroup, plans: Sequence[EpisodePlan] | None = None
    ) -> list[EpisodeRecord]:
        """Play what is missing."""
        study = design.study
        job = self._job(design, group)
        size, players = study.executor.unit, study.executor.actors

        def play(
            missing: Sequence[Planned], ledger: Ledger, guard: EditGuard, shown: Reporter
        ) -> None:
            for folder in ("episodes", "frames", "videos"):
                sweep_temporary(self.run_dir / folder)
            sink = UnitSink(self.run_dir, ledger, guard, job.stored(), shown)
            units = self.fleet.play(Assignment.of(job), cut(missing, size, players))
            with shown, closing(units):
                for played in units:
                    sink.take(played)
                sink.flush()

        return complete(
            job,
            group.plans if plans is None else plans,
            play,
            slots=players * job.slots,
            progress=self.progress,
            title=group.arm,
        )

    def _job(self, design: Design, group: WorkGroup) -> Job:
        study = design.study
        return Job(
            adapter=self.adapter,
            benchmark=benchmark_of(study),
            run_dir=self.run_dir,
            interventions=bind(design, group, self._recorded),
            record=group.record,
            perturb=group.definition.perturb,
            film=film_of(study, group),
            max_batch=1 if study.batch == "exact" else None,
            workers=study.workers,
            envs_per_worker=study.envs_per_worker,
            timeout=_TIMEOUT,
            start_timeout=_START_TIMEOUT,
            max_failures=_MAX_FAILURES,
            environments=None,
        )

    def _recorded(self) -> ActivationSource:
        from vlascope.store import ActivationStore

        return ActivationStore.open(self.run_dir / "activations")


@contextmanager
def open_ray(
    study: Study, choice: PolicyChoice, run_dir: Path, *, progress: bool
) -> Iterator[RayExecutor]:
    """Load the policy here, start its actors, and end them."""
    options = study.executor
    seat = Seat(
        load={
            "adapter": choice.adapter,
            "checkpoint": choice.checkpoint,
            "device": choice.device,
            "dtype": choice.dtype,
            **choice.options,
        },
        benchmark=benchmark_of(study),
        workers=study.workers,
        envs_per_worker=study.envs_per_worker,
        # Sums may depend on the number of threads; an exact replay takes the driver's.
        threads=torch.get_num_threads() if study.batch == "exact" else max(1, int(options.cpus)),
    )
    asked = FleetOptions(options.actors, options.address, options.cpus, options.gpus)
    adapter = load_policy(choice, options.driver_device)
    with RayFleet(seat, asked) as fleet:
        yield RayExecutor(adapter, run_dir.resolve(), fleet, progress)
