"""Promises about observations and pictures."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from vlascope.benchmark import BenchmarkEnv
from vlascope.conformance.benchmark_subject import BenchmarkSubject, same_observation
from vlascope.conformance.results import fail, skip
from vlascope.errors import CapabilityMissing
from vlascope.types import Image

__all__ = ["CHECKS"]

_MOVES: Final = 12
_NOISE: Final = 0.1
"""Mean difference of two pictures, of 255, that rounding to float32 may make."""
_STRAY: Final = 0.02
"""Metres: what a hand moves in a physics step or two."""


def observation_matches_info(subject: BenchmarkSubject) -> None:
    """Observations have the declared cameras, shapes, dtypes, streams and instruction."""
    info = subject.env.info
    for task in subject.sample:
        seen = subject.env.reset(task.name, seed=0)
        if seen.instruction != task.instruction:
            fail(f"{task.name}: observes the instruction {seen.instruction!r}, not the task's")
        images = {n: (a.dtype.name, a.shape) for n, a in seen.images.items()}
        wanted = {n: ("uint8", (c.height, c.width, 3)) for n, c in info.cameras.items()}
        if images != wanted:
            fail(f"{task.name}: pictures are {images}, info declares {wanted}: make them agree")
        state = {n: (a.dtype.name, a.shape) for n, a in seen.state.items()}
        streams = {n: ("float32", (s.dim,)) for n, s in info.state.items()}
        if state != streams:
            fail(f"{task.name}: state is {state}, info declares {streams}: make them agree")
        if not all(np.isfinite(a).all() for a in seen.state.values()):
            fail(f"{task.name}: the state is not all finite")
        if any(image.min() == image.max() for image in seen.images.values()):
            fail(f"{task.name}: a picture is all one colour: check the camera and the renderer")


def specs_are_honest(subject: BenchmarkSubject) -> None:
    """Action ranges are real ranges whose ends `step` takes; cameras declare how they render."""
    info = subject.env.info
    if any(low >= high for low, high in zip(info.action.low, info.action.high, strict=True)):
        fail("an action's low is not below its high: write the range that step() accepts")
    if any(camera.render not in ("fast", "full") for camera in info.cameras.values()):
        fail("a camera's render is neither 'fast' nor 'full': declare which it is")
    for end in (info.action.low, info.action.high):
        subject.env.reset(subject.sample[0].name, seed=0)
        subject.env.step(np.asarray(end, dtype=np.float32))
    try:
        subject.env.step(np.zeros(info.action.dim + 1, dtype=np.float32))
    except (ValueError, AssertionError):
        return
    fail("step() takes an action of the wrong length: raise ValueError saying what is expected")


def observing_is_pure(subject: BenchmarkSubject) -> None:
    """Observing twice gives one picture, and observing does not change what happens next."""
    env, task = subject.env, subject.sample[0].name
    env.reset(task, seed=1)
    for action in subject.actions(3):
        env.step(action)
        if not same_observation(env.observe(), env.observe()):
            fail("observing twice without a step gives two pictures: sense() must change nothing")
    often = env.observe()
    env.reset(task, seed=1)
    for action in subject.actions(3):
        env.step(action)
    if not same_observation(often, env.observe()):
        fail("whether one observes changes what happens: step physics in step() only")


def perturbed_image_reaches_the_observation(subject: BenchmarkSubject) -> None:
    """What `perturb` makes of a picture is what the policy gets to see, until it is unset."""
    env, task = subject.env, subject.sample[0].name
    if not env.info.cameras:
        skip("the benchmark declares no camera")
    plain = env.reset(task, seed=0)
    before = env.perturb
    env.perturb = _inverted
    try:
        for seen in (env.observe(), env.reset(task, seed=0)):
            for camera, image in seen.images.items():
                if not np.array_equal(image, 255 - plain.images[camera]):
                    fail(f"{camera}: `perturb` is not applied: write sense(), not observe()")
    finally:
        env.perturb = before
    if not same_observation(plain, env.observe()):
        fail("the perturbation stays after perturb = None: do not edit kept pictures in place")


def frame_is_a_picture(subject: BenchmarkSubject) -> None:
    """`frame` gives a picture for people, uint8 (height, width, 3)."""
    subject.env.reset(subject.sample[0].name, seed=0)
    frame = subject.env.frame()
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        fail(f"frame() is {frame.dtype} {frame.shape}: give uint8 (height, width, 3)")


def kept_configuration_is_drawn(subject: BenchmarkSubject) -> None:
    """What `configuration` tells is what `show` draws again, in an episode begun anew."""
    env, task = subject.env, subject.sample[0].name
    first = env.reset(task, seed=1)
    if env.configuration() is None:
        skip("the benchmark does not tell its configuration")
    start = env.frame()
    for action in subject.actions(_MOVES):
        env.step(action)
    kept, after, hand = env.configuration(), env.frame(), _hand(env)
    env.reset(task, seed=1)
    assert kept is not None
    env.show(kept)
    off, moved = _apart(env.frame(), after), _apart(start, after)
    if off > max(_NOISE, moved / 4):
        fail(
            f"show() of a kept configuration draws a picture {off:.2f} (of 255) off, where the "
            f"episode moved it by {moved:.2f}: keep all that moves in configuration()"
        )
    there = _hand(env)
    if hand is not None and there is not None and np.linalg.norm(there - hand) > _STRAY:
        fail("show() puts the hand elsewhere than it was: keep all that moves in configuration()")
    if not same_observation(first, env.reset(task, seed=1)):
        fail("after show(), an episode begins differently: start() has to undo it")


def _apart(one: Image, other: Image) -> float:
    """Mean absolute difference of two pictures, 0..255."""
    return float(np.abs(one.astype(np.int16) - other).mean())


def _hand(env: BenchmarkEnv) -> npt.NDArray[np.float64] | None:
    try:
        return env.scene_state()["end_effector"].position
    except CapabilityMissing:
        return None


def _inverted(_camera: str, image: Image) -> Image:
    return 255 - image


CHECKS = (
    observation_matches_info,
    specs_are_honest,
    observing_is_pure,
    perturbed_image_reaches_the_observation,
    frame_is_a_picture,
    kept_configuration_is_drawn,
)
