"""Scripted demonstrations: collected from a benchmark's experts, kept on disk, one file a task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt

from vlascope.benchmark import BenchmarkEnv
from vlascope.errors import CorruptFile
from vlascope.types import FloatArray
from vlascope_adapters.tinyvla.manners import act_in_manner
from vlascope_adapters.tinyvla.recipe import BenchmarkChoice, DemoPlan, Recipe

__all__ = ["Demonstrations", "collect_task", "demo_file", "load_demonstrations"]


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """The demonstrations of one task: actions at every step, a picture every few steps.

    Attributes:
        frames: uint8 (pictures, size, size, 3).
        states: float32 (pictures, state_dim), the robot's state in the benchmark's units.
        frame_step: int64 (pictures,), the row of `actions` and `hands` each picture belongs to.
        actions: float32 (steps, action_dim), what the expert would have done, without noise.
        hands: float32 (steps, 3 * hands), positions of the plan's hands in metres.
        last_step: int64 (steps,), the row of the last step of the same episode.
        landmarks: float32 (pictures, landmarks, 3), where the plan's landmarks are, in metres;
            NaN where the scene does not have one.
        tries: episodes played, of which only the successful ones are kept.
    """

    frames: npt.NDArray[np.uint8]
    states: FloatArray
    frame_step: npt.NDArray[np.int64]
    actions: FloatArray
    hands: FloatArray
    last_step: npt.NDArray[np.int64]
    landmarks: FloatArray
    tries: int

    @property
    def episodes(self) -> int:
        """How many demonstrations there are."""
        return len(np.unique(self.last_step))


@dataclass(frozen=True, eq=False)
class _Episode:
    frames: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    states: list[FloatArray] = field(default_factory=list)
    frame_step: list[int] = field(default_factory=list)
    actions: list[FloatArray] = field(default_factory=list)
    hands: list[FloatArray] = field(default_factory=list)
    landmarks: list[FloatArray] = field(default_factory=list)

    def look(self, env: BenchmarkEnv, choice: BenchmarkChoice, landmarks: tuple[str, ...]) -> None:
        """Keep a picture, the robot's state and where the landmarks are."""
        seen = env.observe()
        self.frames.append(seen.images[choice.camera].copy())
        streams = choice.streams or tuple(seen.state)
        self.states.append(np.concatenate([np.ravel(seen.state[name]) for name in streams]))
        self.frame_step.append(len(self.actions))
        scene, nowhere = env.scene_state(), np.full(3, np.nan)
        places = [scene[name].position if name in scene else nowhere for name in landmarks]
        self.landmarks.append(np.array(places, dtype=np.float32).reshape(-1, 3))


def demo_file(recipe: Recipe, task: str, folder: Path) -> Path:
    """Where the demonstrations of `task` are kept; the name changes with what decides them."""
    return folder / f"{task.replace('/', '-').replace(' ', '-')}-{recipe.demo_key(task)}.npz"


def collect_task(
    env: BenchmarkEnv,
    recipe: Recipe,
    task: str,
    folder: Path,
    *,
    on_demo: Callable[[], None] = lambda: None,
) -> Path:
    """Collect and store the demonstrations of one task, unless they are there already.

    `on_demo` is called after each demonstration, for a progress bar.

    Raises:
        RuntimeError: the expert fails so often that the demonstrations cannot be had.
    """
    path = demo_file(recipe, task, folder)
    if path.exists():
        return path
    kept: list[_Episode] = []
    tries = 0
    part = recipe.parts[task]
    wanted = part.demos
    seeds = recipe.benchmark.practice_seeds(part.first_seed)
    while len(kept) < wanted:
        if tries > 4 * wanted + 20:
            raise RuntimeError(
                f"the expert of {task} succeeded in {len(kept)} of {tries} tries, "
                f"too few for {wanted} demonstrations"
            )
        rng = np.random.default_rng([recipe.seed, crc32(task.encode()), tries])
        episode = _play(env, recipe, task, next(seeds), rng)
        tries += 1
        if episode is not None:
            kept.append(episode)
            on_demo()
    _store(path, kept, tries)
    return path


def load_demonstrations(path: Path) -> Demonstrations:
    """Read one task's file.

    Raises:
        CorruptFile: the file is truncated or is something else.
    """
    try:
        with np.load(path) as stored:
            return Demonstrations(
                frames=stored["frames"],
                frame_step=stored["frame_step"],
                states=stored["states"],
                actions=stored["actions"],
                hands=stored["hands"],
                last_step=stored["last_step"],
                landmarks=stored["landmarks"],
                tries=int(stored["tries"]),
            )
    except FileNotFoundError:
        raise
    except Exception as error:
        raise CorruptFile(
            f"{path} is not a complete demonstration file ({error}); delete it and collect again"
        ) from error


def _noise(plan: DemoPlan, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Noise for executed actions: none in 1 of 4 demonstrations, drift in 1 of 4, else white."""
    kind = rng.integers(4)
    share, size = np.array(plan.noisy), len(plan.noisy)
    drift = np.zeros(size)
    while True:
        if kind == 0:
            yield np.zeros(size, np.float32)
        elif kind == 1:
            drift = 0.9 * drift + np.sqrt(1 - 0.9**2) * plan.drift_noise * rng.standard_normal(size)
            yield (share * drift).astype(np.float32)
        else:
            yield (share * plan.white_noise * rng.standard_normal(size)).astype(np.float32)


def _play(
    env: BenchmarkEnv, recipe: Recipe, task: str, seed: int, rng: np.random.Generator
) -> _Episode | None:
    """One noisy expert episode, or nothing if it did not succeed in time."""
    part, plan = recipe.parts[task], recipe.demonstrations
    low, high = (np.array(ends, np.float32) for ends in (env.info.action.low, env.info.action.high))
    env.start(env.task(part.plays or task), seed=seed)
    episode, noise, noisy = _Episode(), _noise(plan, rng), slice(len(plan.noisy))
    phase = int(rng.integers(plan.frame_every))
    after_success = 0
    for step in range(plan.max_steps):
        if step == 0 or step % plan.frame_every == phase:
            episode.look(env, recipe.benchmark, plan.landmarks)
        action = act_in_manner(env, part)
        episode.actions.append(action)
        scene = env.scene_state()
        places = [scene[hand].position for hand in plan.hands]
        episode.hands.append(np.concatenate(places).astype(np.float32))
        executed = action.copy()
        executed[noisy] += part.manner.speed * next(noise)
        executed = np.clip(executed, low, high)
        after_success += bool(env.step(executed).success or after_success)
        if after_success > plan.steps_after_success:
            return episode
    return episode if after_success else None


def _store(path: Path, episodes: list[_Episode], tries: int) -> None:
    """Write one task's file in one go, so that it is whole or not there."""
    lengths = np.array([len(e.actions) for e in episodes], dtype=np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial")
    with partial.open("wb") as out:
        np.savez(
            out,
            frames=np.stack([f for e in episodes for f in e.frames]),
            states=np.stack([s for e in episodes for s in e.states]),
            frame_step=np.concatenate(
                [start + np.array(e.frame_step) for start, e in zip(starts, episodes, strict=True)]
            ),
            actions=np.stack([a for e in episodes for a in e.actions]),
            hands=np.stack([h for e in episodes for h in e.hands]),
            last_step=np.repeat(ends - 1, lengths),
            landmarks=np.stack([m for e in episodes for m in e.landmarks]),
            tries=np.array(tries),
        )
    partial.replace(path)
