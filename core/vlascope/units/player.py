"""Playing units with a policy and environments that stay open from one to the next."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlascope.adapter import VLAAdapter
from vlascope.errors import VlascopeError
from vlascope.interventions import parse_intervention
from vlascope.recording import RecordSpec
from vlascope.rollout.environments import open_environments
from vlascope.rollout.film import Film
from vlascope.rollout.guard import EditGuard
from vlascope.rollout.job import ACTIVATIONS, Job
from vlascope.rollout.ledger import Ledger
from vlascope.rollout.log import read_log
from vlascope.rollout.pool import EnvPool
from vlascope.rollout.progress import reporter
from vlascope.rollout.sight import Perturb
from vlascope.rollout.spec import BenchmarkSpec
from vlascope.store import ActivationStore
from vlascope.units.unit import PlayedUnit, Unit

__all__ = ["Assignment", "UnitPlayer"]


@dataclass(frozen=True)
class Assignment:
    """How an arm's episodes are played, as plain data that any process can be sent.

    Attributes:
        interventions: as JSON; sources by their path, which must be readable where it is played.
        max_batch: rows per inference at most; None for all that wait.
    """

    benchmark: BenchmarkSpec
    interventions: tuple[Mapping[str, Any], ...]
    record: RecordSpec | None
    perturb: Perturb | None
    film: Film | None
    max_batch: int | None
    timeout: float
    start_timeout: float
    max_failures: int

    @classmethod
    def of(cls, job: Job) -> Assignment:
        """What another process has to know of a job."""
        return cls(
            benchmark=job.benchmark,
            interventions=tuple(i.model_dump(mode="json") for i in job.interventions),
            record=job.record,
            perturb=job.perturb,
            film=job.film,
            max_batch=job.max_batch,
            timeout=job.timeout,
            start_timeout=job.start_timeout,
            max_failures=job.max_failures,
        )


class UnitPlayer:
    """One policy with environments of its own.

    Args:
        adapter: the policy.
        benchmark: what its environments are of.
        workers: environment processes; `envs_per_worker` in each.
    """

    def __init__(
        self, adapter: VLAAdapter, benchmark: BenchmarkSpec, *, workers: int, envs_per_worker: int
    ) -> None:
        self._adapter = adapter
        self._workers, self._envs_per_worker = workers, envs_per_worker
        self._logs = tempfile.TemporaryDirectory(prefix="vlascope-workers-")
        self._environments: EnvPool = open_environments(
            benchmark, self._logs.name, workers=workers, envs_per_worker=envs_per_worker
        )

    def play(self, assignment: Assignment, unit: Unit) -> PlayedUnit:
        """Play a unit in a folder of its own and hand over what it left there.

        An error of ours ends the unit early; what was finished before is handed over with it.
        """
        with tempfile.TemporaryDirectory(prefix="vlascope-unit-") as scratch:
            folder, failure = Path(scratch), None
            ledger = Ledger(folder)
            job = self._job(assignment, folder)
            guard = EditGuard(job.interventions, patience=sys.maxsize)  # the driver's decides
            quiet = reporter("", total=len(unit), skipped=0, show=False)
            try:
                job.play(unit.episodes, ledger, guard, quiet)
            except VlascopeError as error:
                failure = error
            return _collected(folder, unit, failure)

    def close(self) -> None:
        """End the environments."""
        self._environments.__exit__(None, None, None)
        self._logs.cleanup()

    def _job(self, assignment: Assignment, folder: Path) -> Job:
        fields = {name: getattr(assignment, name) for name in Assignment.__dataclass_fields__}
        edits = tuple(parse_intervention(dict(i)) for i in assignment.interventions)
        return Job(
            **{**fields, "interventions": edits},
            adapter=self._adapter,
            run_dir=folder,
            workers=self._workers,
            envs_per_worker=self._envs_per_worker,
            environments=self._environments,
        )


def _collected(folder: Path, unit: Unit, failure: VlascopeError | None) -> PlayedUnit:
    """Everything a unit's folder holds, as bytes."""
    ledger = Ledger(folder)
    found = [ledger.get(planned.digest) for planned in unit.episodes]
    records = tuple(record for record in found if record is not None)
    paths = [p for r in records for p in (r.arrays, r.frames, r.video) if p is not None]
    return PlayedUnit(
        unit=unit.digest,
        records=records,
        files={path: (folder / path).read_bytes() for path in paths},
        activations=_activations(folder / ACTIVATIONS),
        log=tuple(line.model_copy(update={"unit": unit.digest}) for line in read_log(folder)),
        failure=failure,
    )


def _activations(folder: Path) -> dict[str, bytes]:
    if not folder.exists():
        return {}
    store = ActivationStore.open(folder)
    return {episode: store.path_of(episode).read_bytes() for episode in store.episodes()}
