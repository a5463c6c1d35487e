"""The episodes of a run, seen again: their actions replayed in the simulator, or pictures kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy.typing as npt

from vlascope import plugins
from vlascope.benchmark import BenchmarkEnv
from vlascope.errors import CapabilityMissing, CorruptFile, FileMissing
from vlascope.perturbations import Perturbing
from vlascope.records import EpisodeRecord
from vlascope.replay.again import play_again
from vlascope.replay.dataset import Dataset, Features, Frame, Picture, RecordedEpisode, Vector
from vlascope.replay.formats import DatasetFormat
from vlascope.rollout.arrays import EpisodeArrays, read_strip
from vlascope.rollout.ledger import EPISODES, read_episodes
from vlascope.rollout.sight import perturbations_of
from vlascope.rollout.spec import BenchmarkSpec
from vlascope.types import Observation

__all__ = ["FRAMES", "KeptPictures", "RunDataset", "RunFormat"]

FRAMES = "frames"
"""What the pictures of a film strip are called as a feature."""


class RunFormat(DatasetFormat):
    """A folder written by `run_episodes` or a study."""

    name: ClassVar[str] = "run"

    @classmethod
    def recognises(cls, where: str) -> bool:
        """Whether it is a folder with a list of finished episodes."""
        return (Path(where) / EPISODES).is_file()

    @classmethod
    def open(cls, where: str, *, pictures: Literal["simulate", "kept"] = "simulate") -> Dataset:
        """Open a run.

        Args:
            where: its folder.
            pictures: `simulate` replays the actions and renders; `kept` reads the film strips.
        """
        if pictures not in ("simulate", "kept"):
            raise ValueError(f"pictures is 'simulate' or 'kept'; got {pictures!r}")
        return RunDataset(where) if pictures == "simulate" else KeptPictures(where)


class _OfRun(Dataset):
    """Finished episodes; those whose environment failed are left out."""

    def __init__(self, run_dir: str | Path) -> None:
        self.run_dir = Path(run_dir)
        found = [r for r in read_episodes(self.run_dir) if r.status == "ok"]
        benchmarks = {r.benchmark for r in found}
        if len(benchmarks) != 1:
            raise CorruptFile(
                f"{run_dir} holds finished episodes of {len(benchmarks)} benchmarks "
                f"({', '.join(sorted(benchmarks))}); one is needed"
            )
        self.benchmark = BenchmarkSpec.parse(benchmarks.pop())
        self.records = {record.plan.episode: record for record in found}
        self.name = f"run of {self.benchmark}"
        self.episodes = tuple(_episode(record) for record in found)

    def record_of(self, episode: RecordedEpisode) -> EpisodeRecord:
        """The record of an episode."""
        return self.records[episode.name]

    def arrays_of(self, episode: RecordedEpisode) -> EpisodeArrays:
        """Its actions, states and positions."""
        return EpisodeArrays.load(self.run_dir, self.record_of(episode))


class RunDataset(_OfRun):
    """Episodes seen again by replaying their actions from the same task and seed."""

    @cached_property
    def env(self) -> BenchmarkEnv:
        """The simulator, started when first needed."""
        return plugins.benchmark_class(self.benchmark.name)(**self.benchmark.options)

    @cached_property
    def features(self) -> Features:  # type: ignore[override]
        """The benchmark's own cameras and state streams."""
        info = self.env.info
        return Features(
            {n: Picture(c.height, c.width, meaning=c) for n, c in info.cameras.items()},
            {n: Vector(s.names, meaning=s) for n, s in info.state.items()},
        )

    def frames(
        self, episode: RecordedEpisode, steps: Sequence[int], features: Collection[str]
    ) -> Iterator[Frame]:
        """Rendered at `steps` only.

        Raises:
            MisalignedActivations: the replayed episode goes elsewhere than the recorded one did.
        """
        record, arrays, env = self.record_of(episode), self.arrays_of(episode), self.env
        plan, wanted = record.plan, set(steps)
        _refuse_function(record)
        perturbing = Perturbing(perturbations_of(plan, None), seed=plan.seed)
        for step in play_again(env, record, arrays, last=max(wanted, default=-1)):
            if step in wanted:
                seen, _ = perturbing.look(env.observe(), step)
                yield Frame(step, _told(record, step), _values(seen, features))

    def close(self) -> None:
        """Free the simulator."""
        if "env" in self.__dict__:
            self.env.close()
            del self.env


class KeptPictures(_OfRun):
    """Film strips, for policies with one camera; needs no simulator.

    A strip holds a few chunk boundaries, so only those moments are seen. Its pictures are the
    feature `frames`, and what the policy is told of the robot keeps its streams' names.
    """

    def __init__(self, run_dir: str | Path) -> None:
        super().__init__(run_dir)
        self.episodes = tuple(e for e in self.episodes if self.record_of(e).frames)
        if not self.episodes:
            raise FileMissing(
                f"no episode of {run_dir} was filmed: record its pictures by simulating instead"
            )
        first = self.episodes[0]
        strip = read_strip(self.run_dir, self.record_of(first))
        assert strip is not None
        height, width = strip.images.shape[1:3]
        streams = self.arrays_of(first).states
        self.name = f"film strips of {self.name}"
        self.features = Features(
            {FRAMES: Picture(height, width)},
            {n: Vector(tuple(map(str, range(v.shape[1])))) for n, v in streams.items()},
        )

    def steps(self, episode: RecordedEpisode, stride: int) -> Sequence[int]:
        """The chunk boundaries of which a picture was kept."""
        strip = read_strip(self.run_dir, self.record_of(episode))
        kept = () if strip is None else strip.steps.tolist()
        return [step for step in kept if step % stride == 0 and step < episode.steps]

    def frames(
        self, episode: RecordedEpisode, steps: Sequence[int], features: Collection[str]
    ) -> Iterator[Frame]:
        """Read from the strip and the episode's arrays."""
        record, arrays = self.record_of(episode), self.arrays_of(episode)
        strip = read_strip(self.run_dir, record)
        assert strip is not None
        index = {int(step): i for i, step in enumerate(strip.steps)}
        for step in steps:
            seen = {FRAMES: strip.images[index[step]]}
            seen |= {name: values[step] for name, values in arrays.states.items()}
            values = {name: seen[name] for name in features}
            yield Frame(step, _told(record, step), values)


def _episode(record: EpisodeRecord) -> RecordedEpisode:
    plan = record.plan
    return RecordedEpisode(
        name=plan.episode,
        task=plan.task,
        instruction=record.instruction,
        steps=record.steps,
        seed=plan.seed,
        labels={"arm": plan.arm, "scene": record.scene, "success": record.success},
    )


def _refuse_function(record: EpisodeRecord) -> None:
    """Pictures that a mere function changed cannot be made again."""
    if record.perturbed is not None and not isinstance(record.plan.perturbation, tuple):
        raise CapabilityMissing(
            f"the pictures of {record.plan.episode} were changed by a function, which its record "
            "does not hold; perturbations that are data can be replayed"
        )


def _told(record: EpisodeRecord, step: int) -> str:
    switch = record.plan.switch
    return record.instruction if switch is None or step < switch.step else switch.instruction


def _values(seen: Observation, features: Collection[str]) -> dict[str, npt.NDArray[Any]]:
    held: dict[str, npt.NDArray[Any]] = {**seen.images, **seen.state}
    return {name: held[name] for name in features}
