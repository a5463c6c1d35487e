"""Videos of finished episodes, drawn afterwards from what was kept of their scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from vlascope import plugins
from vlascope.benchmark import BenchmarkEnv
from vlascope.errors import CapabilityMissing, FileMissing
from vlascope.replay.again import play_again, show_again
from vlascope.replay.finished import FinishedEpisode, find_episodes
from vlascope.replay.view import View
from vlascope.rollout.arrays import EpisodeArrays
from vlascope.rollout.film import encode_mp4, require_video
from vlascope.rollout.progress import reporter
from vlascope.rollout.spec import BenchmarkSpec
from vlascope.rollout.timelines import CONFIGURATION
from vlascope.store.durable import write_atomically
from vlascope.types import Image

__all__ = ["film_run"]

_TOGETHER = "together"


def film_run(
    where: str | Path,
    out: str | Path | None = None,
    *,
    episodes: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    view: View | None = None,
    together: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Iterator[Path]:
    """Draw episodes of a run or study again in their simulator and write an mp4 of each.

    Scenes are drawn from the configurations kept at every step; where a benchmark keeps none, the
    actions are played again and the hand's recorded track tells whether it is the same episode.

    A video shows the scene, not what perturbations made of the policy's pictures. Its name tells
    the episode and the view; one that exists is kept as it is.

    Args:
        where: the run's or the study's folder.
        out: a folder; by default `videos` in `where`.
        episodes: names or globs of episodes, `arm/task/seed`; None for all.
        arms: names or globs of arms; None for all.
        view: which camera, how large, how often.
        together: one video for each (task, seed) with its arms side by side.
        overwrite: make videos that exist anew.
        progress: show progress on standard error.

    Returns:
        The files one by one as they are made, those that were there already first.

    Raises:
        CapabilityMissing: PyAV is not installed, the benchmark draws at one size only, or it kept
            no track of the hand to tell a true replay by.
        FileMissing: there is nothing to film.
        MisalignedActivations: a replayed episode goes elsewhere than the recorded one did.
        UnknownName: no episode, arm, camera or benchmark goes by that name; near matches are
            listed.
    """
    require_video()
    where, view = Path(where), view or View()
    folder = where / "videos" if out is None else Path(out)
    found = find_episodes(where, episodes, arms)
    films = _together(folder, found, view) if together else _one_each(folder, found, view)
    return _made(films, view, overwrite=overwrite, progress=progress)


Films = Mapping[Path, Sequence[FinishedEpisode]]


def _one_each(folder: Path, found: Sequence[FinishedEpisode], view: View) -> Films:
    return {_path(folder, e.name + view.label): [e] for e in found}


def _together(folder: Path, found: Sequence[FinishedEpisode], view: View) -> Films:
    """By file, the arms of one task and seed; only where there are several."""
    cells: dict[tuple[str, str, int], list[FinishedEpisode]] = {}
    for episode in found:
        plan = episode.record.plan
        cells.setdefault((episode.policy, plan.task, plan.seed), []).append(episode)
    films = {}
    for (policy, task, seed), cell in cells.items():
        if len(cell) < 2:
            continue
        arms = "+".join(e.record.plan.arm for e in cell)
        if len(arms) > 80:
            arms = f"{len(cell)}-arms-{hashlib.sha256(arms.encode()).hexdigest()[:8]}"
        name = f"{policy}/" if policy else ""
        name += f"{_TOGETHER}/{task}/{seed}-{arms.replace('/', '%')}{view.label}"
        films[_path(folder, name)] = cell
    if not films:
        raise FileMissing(
            f"none of the {len(found)} episodes chosen has another arm of its task and seed "
            "beside it; choose more arms, or film them one by one"
        )
    return films


def _path(folder: Path, name: str) -> Path:
    """`name` below the folder, whatever characters it holds."""
    parts = [quote(part, safe=" +=,()") for part in name.split("/")]
    safe = [part.replace(".", "%2E") if part.strip(".") == "" else part for part in parts]
    return folder.joinpath(*safe[:-1], f"{safe[-1]}.mp4")


def _refuse_untold(episode: FinishedEpisode, arrays: EpisodeArrays) -> None:
    """A replay that nothing recorded can confirm might show something that never happened."""
    if "end_effector" not in arrays:
        raise CapabilityMissing(
            f"{episode.name} cannot be played again: benchmark {episode.record.benchmark!r} kept "
            "no track of the hand, by which a replay is told to be the same episode (its "
            "scene_state() gives it); film such episodes while they are played, with "
            "film=Film(video=True)"
        )


def _made(films: Films, view: View, *, overwrite: bool, progress: bool) -> Iterator[Path]:
    there = [] if overwrite else [path for path in films if path.exists()]
    yield from there
    missing = {path: cell for path, cell in films.items() if path not in set(there)}
    shown = reporter("video", total=len(films), skipped=len(there), show=progress)
    with shown, _Stages(view) as stages:
        for path, cell in missing.items():
            clips = {_title(e): stages.film(e) for e in cell}
            rate = stages.rate(cell[0])
            write_atomically(path, encode_mp4(_joined(list(clips.items())), rate))
            shown.advance(success=all(e.record.success for e in cell))
            yield path


def _title(episode: FinishedEpisode) -> str:
    record = episode.record
    end = f"succeeds at step {record.success_step}" if record.success else "does not succeed"
    return f"{record.plan.arm}\n{end}"


def _joined(clips: Sequence[tuple[str, Sequence[Image]]]) -> Sequence[Image]:
    if len(clips) == 1:
        return clips[0][1]
    from vlascope.replay.montage import side_by_side

    return side_by_side(dict(clips))


@dataclass
class _Stages:
    """The simulators of the episodes' benchmarks, each started when first needed."""

    view: View
    _open: dict[str, BenchmarkEnv] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> _Stages:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def film(self, episode: FinishedEpisode) -> list[Image]:
        """Pictures of a whole episode, the last step's among them."""
        arrays = episode.arrays
        env = self._env(episode)
        stride, last = self.view.stride(env), len(arrays.actions)
        wanted = sorted({*range(0, last + 1, stride), last})
        if CONFIGURATION in arrays:
            shown = show_again(env, episode.record, arrays, wanted)
        else:
            _refuse_untold(episode, arrays)
            shown = (s for s in play_again(env, episode.record, arrays) if s in set(wanted))
        return [self.view.picture(env) for _ in shown]

    def rate(self, episode: FinishedEpisode) -> float:
        """Pictures a second at which an episode takes as long as it did in simulated time."""
        env = self._env(episode)
        return env.info.hz / self.view.stride(env)

    def _env(self, episode: FinishedEpisode) -> BenchmarkEnv:
        built = episode.record.benchmark
        if built not in self._open:
            spec = BenchmarkSpec.parse(built)
            cls = plugins.benchmark_class(spec.name)
            env = self._stack.enter_context(closing(cls(**self.view.options(cls, spec.options))))
            self.view.check(env)
            self._open[built] = env
        return self._open[built]
