"""One environment playing one episode, and the trace it leaves; runs in a worker process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from vlascope.benchmark import BenchmarkEnv
from vlascope.errors import CapabilityMissing
from vlascope.perturbations import Perturbing, Sent
from vlascope.rollout.film import encode_mp4, evenly_spaced
from vlascope.rollout.messages import Begin, Execute, Finished, Observed, Trace
from vlascope.rollout.timelines import CONFIGURATION, Timelines
from vlascope.types import FloatArray, Image, Observation, Pose, StepResult

__all__ = ["Playing", "is_hand"]


class Playing:
    """An episode under way in `env`; rendered only where a chunk begins."""

    def __init__(self, env: BenchmarkEnv, begin: Begin) -> None:
        self._env = env
        self._plan = begin
        self._perturbing = Perturbing(begin.perturbations, seed=begin.seed, read=begin.read)
        self._step = 0
        self._actions: list[FloatArray] = []
        self._positions: dict[str, list[npt.NDArray[np.float64]]] = {}
        self._configurations: list[FloatArray] = []
        self._has_scene = True
        self._success_step: int | None = None
        self._predicates: dict[str, int] = {}
        self._timelines = Timelines()
        self._initial: tuple[str, ...] = ()
        self._strip: list[tuple[int, Image]] = []
        self._video: list[Image] = []
        self._phases = {"physics": 0.0, "render": 0.0}

    def begin(self) -> Observed:
        """Reset and look."""
        with self._timed("physics"):
            self._env.start(self._env.task(self._plan.task), seed=self._plan.seed)
            self._note_initial_predicates()
            self._note_scene()
        self._note_video()
        return Observed(self._plan.slot, 0, *self._observe())

    def execute(self, request: Execute) -> Observed | Finished:
        """Play the actions; look again, or hand over the trace of the finished episode."""
        over = request.last
        for action in request.actions:
            if over := self._advance(action) or over:
                break
        if over:
            return Finished(self._plan.slot, self._finish())
        return Observed(self._plan.slot, self._step, *self._observe())

    def _advance(self, action: FloatArray) -> bool:
        """One step; whether the episode is over."""
        with self._timed("physics"):
            result = self._env.step(action)
        self._step += 1
        self._actions.append(np.array(action, np.float32))
        self._timelines.hold(self._step, result.predicates)
        for name, holds in result.predicates.items():
            if holds:
                self._predicates.setdefault(name, self._step)
        if result.success and self._success_step is None:
            self._success_step = self._step
        with self._timed("physics"):
            self._note_scene()
        self._note_video()
        return self._over(result)

    def _over(self, result: StepResult) -> bool:
        limit = self._plan.max_steps
        if result.truncated or (limit is not None and self._step >= limit):
            return True
        if self._success_step is not None:
            return self._plan.stop_on_success
        return result.terminated

    def _observe(self, *, for_policy: bool = True) -> tuple[Observation, Sent | None]:
        with self._timed("render"):
            observation = self._env.observe()
        observation, sent = self._perturbing.look(observation, self._step, count=for_policy)
        self._timelines.feel(self._step, observation.state)
        film = self._plan.film
        if film is not None and film.frames:
            if film.view == "frame" or not observation.images:
                with self._timed("render"):
                    picture = self._env.frame()
            else:
                picture = next(iter(observation.images.values()))
            self._strip.append((self._step, picture))
        return observation, sent

    def _note_initial_predicates(self) -> None:
        """Conditions that hold at once, where the benchmark can say so before a step."""
        held = self._env.predicates()
        self._timelines.hold(0, held)
        self._initial = tuple(sorted(name for name, holds in held.items() if holds))

    def _note_scene(self) -> None:
        self._timelines.feel(self._step, self._env.proprioception())
        if (now := self._env.configuration()) is not None:
            self._configurations.append(now)
        if not self._has_scene:
            return
        try:
            poses = self._env.scene_state()
        except CapabilityMissing:
            self._has_scene = False
            return
        if self._step == 0:
            self._positions = {name: [] for name in poses}
        for name, track in self._positions.items():
            track.append(_position(poses.get(name)))

    def _note_video(self) -> None:
        film = self._plan.film
        if film is not None and film.video and self._step % film.video_every == 0:
            with self._timed("render"):
                self._video.append(self._env.frame())

    def _finish(self) -> Trace:
        film = self._plan.film
        strip = video = None
        if film is not None and film.frames:
            self._observe(for_policy=False)
            strip = evenly_spaced(
                [image for _, image in self._strip], [step for step, _ in self._strip], film.frames
            )
        if film is not None and self._video:
            video = encode_mp4(self._video, self._env.info.hz / film.video_every)
        return Trace(
            steps=self._step,
            arrays=self._arrays(),
            success_step=self._success_step,
            predicates=self._predicates,
            initial_predicates=self._initial,
            perturbations=self._perturbing.receipts,
            strip=strip,
            video=video,
            phases=dict(self._phases),
        )

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        """Count the time spent inside towards a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._phases[phase] += time.perf_counter() - started

    def _arrays(self) -> dict[str, npt.NDArray[np.float32] | npt.NDArray[np.uint8]]:
        dim = self._env.info.action.dim
        actions = np.asarray(self._actions, np.float32).reshape(len(self._actions), dim)
        tracks = {
            name if is_hand(name) else f"object.{name}": np.asarray(track, np.float32)
            for name, track in self._positions.items()
        }
        kept = {CONFIGURATION: np.stack(self._configurations)} if self._configurations else {}
        return {"action": actions, **tracks, **self._timelines.arrays(self._step), **kept}


def is_hand(name: str) -> bool:
    """Whether a thing of the scene is a hand, `end_effector` or `end_effector.NAME`."""
    return name.partition(".")[0] == "end_effector"


def _position(pose: Pose | None) -> npt.NDArray[np.float64]:
    """Metres (3,); NaN for a thing that is no longer there."""
    return np.full(3, np.nan) if pose is None else np.array(pose.position, np.float64)
