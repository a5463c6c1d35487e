"""Where a study's episodes are played: on this machine, or by Ray actors on any node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from vlascope.loading import load
from vlascope.records import EpisodePlan, EpisodeRecord
from vlascope.rollout import BenchmarkSpec, Film, open_environments, run_episodes
from vlascope.study.design import Design
from vlascope.study.editing import bind
from vlascope.study.groups import WorkGroup
from vlascope.study.schema import PolicyChoice, Study

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter
    from vlascope.interventions.sources import ActivationSource
    from vlascope.rollout.pool import EnvPool

__all__ = [
    "Executor",
    "LocalExecutor",
    "OpenExecutor",
    "benchmark_of",
    "film_of",
    "load_policy",
    "opened_executors",
]


class Executor(Protocol):
    """Plays the episodes of one arm of one policy, wherever that may be."""

    @property
    def adapter(self) -> VLAAdapter:
        """The policy as this process holds it."""
        ...

    @property
    def run_dir(self) -> Path:
        """Where its episodes go."""
        ...

    def run(
        self, design: Design, group: WorkGroup, plans: Sequence[EpisodePlan] | None = None
    ) -> list[EpisodeRecord]:
        """The records of the plans, playing only what is not finished.

        Args:
            design: expanded for the policy.
            group: one arm.
            plans: a part of the group's; None for all.
        """
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

    def run(
        self, design: Design, group: WorkGroup, plans: Sequence[EpisodePlan] | None = None
    ) -> list[EpisodeRecord]:
        """Play what is missing."""
        study = design.study
        return run_episodes(
            self.adapter,
            benchmark_of(study),
            group.plans if plans is None else plans,
            self.run_dir,
            interventions=bind(design, group, self._recorded),
            record=group.record,
            perturb=group.definition.perturb,
            film=film_of(study, group),
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


class OpenExecutor(Protocol):
    """Opens an executor for one policy of a study, to be closed with the stack."""

    def __call__(self, name: str, choice: PolicyChoice, stack: ExitStack) -> Executor:
        """The executor of the policy that the study calls `name`."""
        ...


@contextmanager
def opened_executors(study: Study, part: Path, *, progress: bool) -> Iterator[OpenExecutor]:
    """Open what all policies of a study share, as `study.executor` says.

    Args:
        study: checked.
        part: the run directory, or a shard of it.
        progress: show progress bars.
    """
    if study.executor.kind == "ray":
        from vlascope.study.ray_executor import open_ray
        from vlascope.units.ray_fleet import ray_session

        def on_ray(name: str, choice: PolicyChoice, stack: ExitStack) -> Executor:
            return stack.enter_context(open_ray(study, choice, part / name, progress=progress))

        with ray_session():
            yield on_ray
        return
    with open_environments(
        benchmark_of(study),
        part / "workers",
        workers=study.workers,
        envs_per_worker=study.envs_per_worker,
    ) as environments:

        def here(name: str, choice: PolicyChoice, stack: ExitStack) -> Executor:  # noqa: ARG001
            return LocalExecutor(load_policy(choice), part / name, environments, progress)

        yield here


def load_policy(choice: PolicyChoice, device: str | None = None) -> VLAAdapter:
    """The policy a study chose, loaded; on another device than it says where one is given."""
    return load(
        choice.adapter,
        choice.checkpoint,
        device=device or choice.device,
        dtype=choice.dtype,
        **choice.options,
    )


def benchmark_of(study: Study) -> BenchmarkSpec:
    """What a study plays."""
    return BenchmarkSpec(name=study.benchmark.name, options=study.benchmark.options)


def film_of(study: Study, group: WorkGroup) -> Film | None:
    """Which pictures of an arm are kept; None for none."""
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
