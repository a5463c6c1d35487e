"""What a policy gets to see at the moments at which it plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlascope.adapter import VLAAdapter
from vlascope.benchmark import BenchmarkEnv
from vlascope.hooks import Moment
from vlascope.noise import generator_for
from vlascope.records import EpisodeRecord
from vlascope.replay.again import play_again
from vlascope.rollout.arrays import EpisodeArrays
from vlascope.specs import check_compatible
from vlascope.types import Observation

__all__ = ["Situation", "in_batches", "played_situations", "replayed_situations"]


@dataclass(frozen=True, eq=False)
class Situation:
    """One look at the world.

    Attributes:
        observation: what is seen and told.
        moment: episode, step and chunk; the unit of every interval is the episode.
        task: what the episode is about; intervals resample tasks where there are enough.
        seed: of the episode's noise.
    """

    observation: Observation
    moment: Moment
    task: str = ""
    seed: int = 0


def played_situations(
    adapter: VLAAdapter,
    env: BenchmarkEnv,
    tasks: Sequence[str],
    seeds: Sequence[int],
    *,
    every: int = 1,
    max_steps: int | None = None,
) -> list[Situation]:
    """What the unhooked policy sees on its way through some episodes.

    Args:
        adapter: the policy, which acts.
        env: the benchmark.
        tasks: names of tasks.
        seeds: one episode per task and seed.
        every: keep every so-many-th chunk, from the first.
        max_steps: end episodes early.

    Raises:
        IncompatibleError: the policy does not fit the benchmark.
    """
    check_compatible(adapter.info, env.info)
    return [
        situation
        for task in tasks
        for seed in seeds
        for situation in _episode(adapter, env, task, seed, max_steps)
        if situation.moment.chunk % every == 0
    ]


def replayed_situations(
    env: BenchmarkEnv,
    run_dir: str | Path,
    records: Sequence[EpisodeRecord],
    executed: int,
    *,
    most: int,
) -> list[Situation]:
    """What the policy saw in finished episodes, by playing their actions again; nothing is planned.

    Args:
        env: the benchmark they were played on.
        run_dir: the run that holds their actions.
        records: the episodes.
        executed: steps of a chunk that are played.
        most: situations in all, about as many of each episode, spread over its chunks.

    Raises:
        MisalignedActivations: an episode goes elsewhere than the recorded one did.
    """
    each = max(1, most // max(1, len(records)))
    found = []
    for record in records[:most]:
        arrays = EpisodeArrays.load(run_dir, record)
        chunks = -(-len(arrays.actions) // executed)
        wanted = {executed * (i * chunks // min(each, chunks)) for i in range(min(each, chunks))}
        for step in play_again(env, record, arrays, last=max(wanted)):
            if step in wanted:
                seen = replace(env.observe(), instruction=record.instruction)
                moment = Moment(record.plan.episode, step, step // executed)
                found.append(Situation(seen, moment, record.plan.task, record.plan.seed))
    return found


def in_batches(situations: Sequence[Situation], size: int) -> Iterator[Sequence[Situation]]:
    """So many at a time, in order."""
    for start in range(0, len(situations), size):
        yield situations[start : start + size]


def _episode(
    adapter: VLAAdapter, env: BenchmarkEnv, task: str, seed: int, max_steps: int | None
) -> Iterator[Situation]:
    """Play one episode to its end, or to `max_steps`."""
    env.reset(task, seed=seed)
    limit = min(max_steps or env.info.max_steps, env.info.max_steps)
    executed = adapter.info.executed_steps
    for chunk in range(-(-limit // executed)):
        moment = Moment(f"{task}/{seed}", chunk * executed, chunk)
        seen = env.observe()
        yield Situation(seen, moment, task, seed)
        noise = generator_for(seed, chunk)
        actions = adapter.infer([seen], generators=[noise], moments=[moment]).actions[0]
        for action in actions[: min(executed, limit - moment.step)]:
            result = env.step(action)
            if result.success or result.terminated or result.truncated:
                return
