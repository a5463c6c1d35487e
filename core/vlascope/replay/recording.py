"""Open-loop replay: what a policy computes on observations that others recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import batched
from pathlib import Path

from vlascope.adapter import VLAAdapter
from vlascope.errors import UnknownName
from vlascope.hooks import HookPoint, Moment
from vlascope.noise import generator_for
from vlascope.recording import ActivationCache, RecordSpec
from vlascope.recording import record as record_activations
from vlascope.replay.dataset import Dataset, RecordedEpisode
from vlascope.replay.fitting import Fit, fit
from vlascope.rollout.lock import exclusive
from vlascope.rollout.progress import reporter
from vlascope.store import ActivationStore, Provenance
from vlascope.store.unit import Entry
from vlascope.types import Observation

__all__ = ["chosen", "record_dataset"]


def record_dataset(
    adapter: VLAAdapter,
    dataset: Dataset,
    out: str | Path,
    spec: RecordSpec,
    *,
    cameras: Mapping[str, str] | None = None,
    states: Mapping[str, str] | None = None,
    resize: bool = False,
    stride: int | None = None,
    batch: int = 8,
    episodes: Sequence[str] | None = None,
    progress: bool = True,
) -> ActivationStore:
    """Show recorded episodes to a policy and keep what it computes; its actions go nowhere.

    A moment is (episode, environment step, chunk), as if the policy had acted: it looks every
    `executed_steps` steps. One episode is one unit of the store. Killed at any moment and called
    again, it records what is missing.

    Args:
        adapter: the policy.
        dataset: recorded episodes.
        out: the folder of the activation store.
        spec: which activations.
        cameras: feature to camera, see `vlascope.replay.fit`.
        states: feature, or part of one, to state stream.
        resize: scale pictures of another size to the policy's.
        stride: environment steps between looks; None for the policy's `executed_steps`.
        batch: frames per inference; 1 is exact.
        episodes: globs of episode names; None for all.
        progress: show progress on standard error.

    Raises:
        IncompatibleError: a feature does not fit the policy; or the folder holds another recording.
        UnknownName: no episode, feature or hook point goes by that name.
        RunLocked: another process writes the folder.
        DiskFull: no space left; what was recorded is kept.
    """
    step = adapter.info.executed_steps if stride is None else stride
    if step < 1 or batch < 1:
        raise ValueError(f"stride and batch are at least 1; got {step} and {batch}")
    fitted = fit(dataset.features, adapter.info, cameras=cameras, states=states, resize=resize)
    wanted = chosen(dataset, episodes)
    source = f"{dataset.name}, every {step} steps: {fitted}"
    with exclusive(Path(out)):
        store = ActivationStore.create(out, Provenance.of(adapter, spec, benchmark=source))
        missing = [episode for episode in wanted if episode.name not in store]
        shown = reporter(
            "replay", total=len(wanted), skipped=len(wanted) - len(missing), show=progress
        )
        with shown, record_activations(adapter, spec) as cache:
            for episode in missing:
                looks = _batches(dataset, episode, fitted, step, batch)
                entries = _replay(adapter, cache, episode, looks)
                store.write(episode.name, entries, {episode.name: _labels(episode)})
                shown.advance(success=bool(episode.labels.get("success")))
    return store


def chosen(dataset: Dataset, globs: Sequence[str] | None) -> list[RecordedEpisode]:
    """The episodes that any of the globs names.

    Raises:
        UnknownName: a glob names none.
    """
    names = [e.name for e in dataset.episodes]
    for glob in globs or ():
        if not any(fnmatchcase(name, glob) for name in names):
            listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise UnknownName(f"{glob!r} names no episode of {dataset.name}; it has {listed}")
    if globs is None:
        return list(dataset.episodes)
    return [e for e in dataset.episodes if any(fnmatchcase(e.name, glob) for glob in globs)]


def _replay(
    adapter: VLAAdapter,
    cache: ActivationCache,
    episode: RecordedEpisode,
    looks: Iterable[Sequence[tuple[Moment, Observation]]],
) -> dict[HookPoint, list[Entry]]:
    """Infer batch by batch; what was recorded, on the CPU."""
    entries: dict[HookPoint, list[Entry]] = {point: [] for point in cache}
    for rows in looks:
        adapter.infer(
            [observation for _, observation in rows],
            generators=[generator_for(episode.seed, moment.chunk) for moment, _ in rows],
            moments=[moment for moment, _ in rows],
        )
        for point in cache:
            for captured in cache[point]:
                firing = captured.firing
                for i, value in enumerate(captured.rows):
                    spans = firing.spans[i] if firing.spans else None
                    own = value.to("cpu", copy=len(captured.rows) > 1)
                    entries[point].append(Entry(firing.moments[i], captured.tokens[i], spans, own))
        cache.clear()
    return entries


def _batches(
    dataset: Dataset, episode: RecordedEpisode, fitted: Fit, stride: int, batch: int
) -> Iterator[Sequence[tuple[Moment, Observation]]]:
    frames = dataset.frames(episode, dataset.steps(episode, stride), fitted.features)
    looks = (
        (Moment(episode.name, f.step, f.step // stride), fitted.observation(f)) for f in frames
    )
    return batched(looks, batch)


def _labels(episode: RecordedEpisode) -> dict[str, str | int | float | bool | None]:
    return {
        "task": episode.task,
        "seed": episode.seed,
        "instruction": episode.instruction,
        "steps": episode.steps,
        **episode.labels,
    }
