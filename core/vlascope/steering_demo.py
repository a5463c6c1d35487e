"""One policy, one task, one seed: played as it is, steered, and pushed at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from vlascope.hand import HAND_UNITS, hand_series
from vlascope.interventions import Intervention, RandomDirection, SteerTo
from vlascope.records import EpisodePlan, EpisodeRecord
from vlascope.rollout import BenchmarkSpec, Film, open_environments, run_episodes
from vlascope.rollout.arrays import EpisodeArrays, read_strip

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter
    from vlascope.rollout.film import Strip

__all__ = ["ARMS", "Shown", "SteeringShown", "show_steering"]

Floats = npt.NDArray[np.float64]

ARMS: Final[Mapping[str, str]] = {
    "before": "as it is",
    "after": "steered",
    "random": "random direction",
}


class Shown(BaseModel):
    """One of the episodes in numbers.

    Attributes:
        speed, height: means of the hand over the episode, m/s and m; None where unknown.
        dx_ratio: mean ||dx||/||x|| over edited rows; None where nothing is edited.
        alpha: mean strength of a closed loop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    success: bool
    steps: int
    speed: float | None
    height: float | None
    dx_ratio: float | None = None
    alpha: float | None = None


class SteeringShown(BaseModel):
    """What `vlascope steer` found; n = 1 episode a row, so no interval.

    Attributes:
        quantity, unit: what is drawn over time.
        episodes: by arm.
        displacement: mean distance of the hand from its path before, in m, by arm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: str
    benchmark: str
    task: str
    seed: int
    edit: dict[str, Any]
    quantity: str
    unit: str
    episodes: dict[str, Shown]
    displacement: dict[str, float | None]


@dataclass(frozen=True, eq=False)
class Take:
    """One episode with what is drawn of it."""

    record: EpisodeRecord
    shown: Shown
    series: Floats | None
    path: Floats | None
    strip: Strip | None


def show_steering(
    adapter: VLAAdapter,
    benchmark: BenchmarkSpec,
    task: str,
    edit: Intervention,
    out: Path,
    *,
    seed: int,
    max_steps: int | None = None,
    frames: int = 6,
    video: bool = True,
    progress: bool = True,
) -> SteeringShown:
    """Play the three episodes and write `result.json`, `strip.png` and `side_by_side.mp4`.

    Args:
        adapter: the policy.
        benchmark: what is played.
        task: by name.
        edit: the steering.
        out: a folder; episodes go to `out/run` and are not played again.
        seed: of the initial state and the policy's noise, the same for all three.
        max_steps: environment steps at most.
        frames: pictures per row of the strip.
        video: also write the mp4 (needs PyAV).
        progress: show progress.

    Raises:
        IncompatibleError: the direction belongs to another site or policy.
        UnknownName: no such task.
        CapabilityMissing: a video is asked for and PyAV is not installed.
    """
    from vlascope import plugins
    from vlascope.rollout.film import require_video
    from vlascope.steering_pictures import write_strip, write_video

    if video:
        require_video()
    env = plugins.benchmark_class(benchmark.name)(**benchmark.options)
    hz = env.info.hz
    env.close()
    quantity = edit.quantity if isinstance(edit, SteerTo) else "speed"
    quantity = quantity if quantity in HAND_UNITS else "speed"
    random = RandomDirection(
        at=edit.at, tokens=edit.tokens, steps=edit.steps, calls=edit.calls, like=edit
    )
    edits = {"before": (), "after": (edit,), "random": (random,)}
    edit.check(adapter.info, adapter.match(edit.at))
    run, takes = out / "run", dict[str, Take]()
    with open_environments(benchmark, run / "workers", workers=1, envs_per_worker=1) as pool:
        for arm, interventions in edits.items():
            (record,) = run_episodes(
                adapter,
                benchmark,
                [EpisodePlan(arm=arm, task=task, seed=seed, max_steps=max_steps)],
                run,
                interventions=interventions,
                film=Film(frames=frames, view="frame", video=video, video_every=_every(hz)),
                batch=1,
                environments=pool,
                progress=progress,
                title=arm,
            )
            takes[arm] = _take(run, record, quantity, hz)
    shown = SteeringShown(
        policy=f"{adapter.info.name}:{adapter.info.checkpoint}",
        benchmark=str(benchmark),
        task=task,
        seed=seed,
        edit=edit.model_dump(mode="json"),
        quantity=quantity,
        unit=HAND_UNITS[quantity],
        episodes={arm: take.shown for arm, take in takes.items()},
        displacement={arm: _distance(take, takes["before"]) for arm, take in takes.items()},
    )
    target = edit.target if isinstance(edit, SteerTo) and edit.quantity == quantity else None
    write_strip(out / "strip.png", takes, quantity, hz, target)
    if video:
        write_video(out / "side_by_side.mp4", out / "run", takes)
    (out / "result.json").write_text(shown.model_dump_json(indent=1))
    return shown


def _every(hz: float) -> int:
    """Steps per video frame, for about 20 frames a second."""
    return max(1, round(hz / 20))


def _take(run_dir: Path, record: EpisodeRecord, quantity: str, hz: float) -> Take:
    arrays = EpisodeArrays.load(run_dir, record)
    path = arrays["end_effector"].astype(np.float64) if "end_effector" in arrays else None
    alphas = arrays.get("edit.0.alpha")
    ratios = [r.dx_ratio_mean for r in record.receipts]
    shown = Shown(
        success=bool(record.success),
        steps=record.steps,
        speed=None if path is None else float(hand_series("speed", path, hz).mean()),
        height=None if path is None else float(hand_series("height", path, hz).mean()),
        dx_ratio=ratios[0] if ratios else None,
        alpha=None if alphas is None else float(alphas.mean()),
    )
    series = None if path is None else hand_series(quantity, path, hz)
    return Take(record, shown, series, path, read_strip(run_dir, record))


def _distance(take: Take, before: Take) -> float | None:
    if take.path is None or before.path is None:
        return None
    n = min(len(take.path), len(before.path))
    return float(np.linalg.norm(take.path[:n] - before.path[:n], axis=1).mean())
