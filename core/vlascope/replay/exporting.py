"""Episodes of a run written as a dataset that others read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlascope import plugins
from vlascope.errors import AlreadyThere
from vlascope.replay.dataset import Frame, RecordedEpisode
from vlascope.replay.formats import Exported, Layout
from vlascope.replay.recording import chosen
from vlascope.replay.runs import RunDataset
from vlascope.rollout.progress import Reporter, reporter
from vlascope.types import FloatArray

__all__ = ["export_run"]


def export_run(
    run_dir: str | Path,
    out: str | Path,
    *,
    to: str,
    episodes: Sequence[str] | None = None,
    only_successes: bool = False,
    video: bool = True,
    progress: bool = True,
) -> Path:
    """Replay a run's actions in its simulator and write every frame as a dataset.

    What the policy saw is what is written: perturbed pictures are exported perturbed, and the
    instruction is the one that was told. The folder appears when it is complete.

    Args:
        run_dir: the run.
        out: a folder that does not exist yet.
        to: a registered format that can be written.
        episodes: globs of episode names (`arm/task/seed`); None for all.
        only_successes: leave out episodes that did not succeed.
        video: compress pictures as video; False keeps every pixel.
        progress: show progress on standard error.

    Raises:
        AlreadyThere: the folder exists.
        CapabilityMissing: that format is only read.
        MisalignedActivations: a replayed episode goes elsewhere than the recorded one did.
        UnknownName: no format or episode goes by that name.
    """
    out = Path(out)
    if out.exists():
        raise AlreadyThere(f"{out} is there already; give another folder, or delete it first")
    writer = plugins.dataset_format(to)
    unfinished = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    with RunDataset(run_dir) as run:
        wanted = chosen(run, episodes)
        if only_successes:
            wanted = [e for e in wanted if e.labels["success"]]
        info = run.env.info
        layout = Layout(str(run.benchmark), info.hz, info.cameras, info.state, info.action)
        shown = reporter("export", total=len(wanted), skipped=0, show=progress)
        with shown:
            writer.write(unfinished, layout, _episodes(run, wanted, shown), video=video)
    unfinished.rename(out)
    return out


def _episodes(
    run: RunDataset, wanted: Sequence[RecordedEpisode], shown: Reporter
) -> Iterator[Exported]:
    for episode in wanted:
        yield Exported(episode, _frames(run, episode))
        shown.advance(success=bool(episode.labels["success"]))


def _frames(run: RunDataset, episode: RecordedEpisode) -> Iterator[tuple[Frame, FloatArray]]:
    names = {*run.features.pictures, *run.features.vectors}
    actions = run.arrays_of(episode).actions
    for frame in run.frames(episode, range(episode.steps), names):
        yield frame, actions[frame.step]
