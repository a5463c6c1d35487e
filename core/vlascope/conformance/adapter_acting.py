"""Promises about what goes into an adapter and the actions that come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vlascope.conformance.adapter_subject import AdapterSubject, apart
from vlascope.conformance.results import fail, skip
from vlascope.noise import generator_for
from vlascope.types import ActionChunk, Observation

__all__ = ["CHECKS"]

_OTHERS = (1, 2, 3, 4, 5)


def chunk_matches_info(subject: AdapterSubject) -> None:
    """A chunk is float32 (batch, horizon, action_dim), finite."""
    info, rows = subject.adapter.info, subject.examples(0, 1)
    noise = [generator_for(0, i) for i in range(2)]
    chunk = subject.adapter.infer(rows, generators=noise)
    if not isinstance(chunk, ActionChunk):
        fail(f"predict_chunk returned {type(chunk).__name__}; return ActionChunk(actions)")
    wanted = (2, info.horizon, info.action.dim)
    if chunk.actions.shape != wanted or chunk.actions.dtype != np.float32:
        fail(
            f"a chunk for 2 rows is {chunk.actions.dtype} {chunk.actions.shape}, info declares "
            f"float32 {wanted}: cut padded action dimensions and the horizon in predict_chunk, or "
            "correct info.horizon and info.action"
        )
    if not np.isfinite(chunk.actions).all():
        fail("the actions are not all finite: check un-normalisation for division by zero")


def same_generator_same_actions(subject: AdapterSubject) -> None:
    """The generators decide all chance: equal ones give equal actions, bit for bit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = subject.act()
        torch.manual_seed(2)
        second = subject.act()
    if apart(first, second) != 0:
        fail(
            f"two runs from equal generators differ by {apart(first, second):.3g}: draw noise with "
            "vlascope.noise.normal(generators, ...), not from torch's global generator, and put "
            "the model in eval() mode (dropout)"
        )


def rows_are_independent(subject: AdapterSubject) -> None:
    """A batch of two gives what two batches of one give, up to floating point."""
    rows = subject.examples(0, 1)
    together = subject.act(rows)
    for i, row in enumerate(rows):
        noise = [generator_for(0, i)]
        alone = subject.adapter.infer([row], generators=noise).actions[0]
        if apart(alone, together[i]) > 1e-4 * max(1.0, float(np.abs(alone).max())):
            fail(
                f"row {i} of a batch differs by {apart(alone, together[i]):.3g} from the same "
                "observation alone: draw row i's noise from generators[i] only, mask padding "
                "tokens as keys, and use no batch statistics"
            )


def observation_unchanged(subject: AdapterSubject) -> None:
    """Acting does not write into the observation."""
    given = subject.examples(0)[0]
    arrays: list[npt.NDArray[Any]] = [*given.images.values(), *given.state.values()]
    before = [a.copy() for a in arrays]
    names = list(given.images), list(given.state), given.instruction
    subject.act([given])
    same = (list(given.images), list(given.state), given.instruction) == names
    if not same or not all(np.array_equal(a, b) for a, b in zip(before, arrays, strict=True)):
        fail("predict_chunk changed its observation: copy arrays before normalising in place")


def reset_forgets(subject: AdapterSubject) -> None:
    """After `reset`, and from one `infer` to the next, nothing of the past is left."""
    adapter, (mine, other) = subject.adapter, subject.examples(0, 1)
    before = subject.act([mine])
    subject.act([other], noise=9)
    if apart(before, subject.act([mine])) != 0:
        fail("predict_chunk remembers an earlier observation: keep no state between calls")
    adapter.reset()
    first = adapter.act(mine, generator=generator_for(0))
    for i in range(adapter.info.executed_steps):
        adapter.act(other, generator=generator_for(9, i))
    adapter.reset()
    again = adapter.act(mine, generator=generator_for(0))
    adapter.reset()
    if apart(first[None], again[None]) != 0:
        fail(
            "an episode after reset() starts differently: clear queues, caches and history in "
            "reset(), and call super().reset()"
        )


def image_reaches_the_action(subject: AdapterSubject) -> None:
    """Another picture, camera by camera, gives other actions."""
    if not subject.adapter.info.cameras:
        skip("the policy declares no camera")
    for camera in subject.adapter.info.cameras:

        def mixed(mine: Observation, other: Observation, camera: str = camera) -> Observation:
            return replace(mine, images={**mine.images, camera: other.images[camera]})

        _reaches(
            subject,
            mixed,
            f"the picture of camera {camera!r}",
            "feed it in predict_chunk, or drop it from info.cameras",
        )


def instruction_reaches_the_action(subject: AdapterSubject) -> None:
    """Another instruction, or none, gives other actions."""
    mine = subject.examples(0)[0]
    if apart(subject.act([mine]), subject.act([replace(mine, instruction="")])) != 0:
        return
    _reaches(
        subject,
        lambda mine, other: replace(mine, instruction=other.instruction),
        "the instruction",
        "feed observation.instruction through the tokenizer in predict_chunk; for a policy "
        "without language declare expected_failures = {'instruction_reaches_the_action': why}",
    )


def state_reaches_the_action(subject: AdapterSubject) -> None:
    """Another proprioceptive state, stream by stream, gives other actions."""
    if not subject.adapter.info.state:
        skip("the policy declares no state stream")
    for stream in subject.adapter.info.state:

        def mixed(mine: Observation, other: Observation, stream: str = stream) -> Observation:
            return replace(mine, state={**mine.state, stream: other.state[stream]})

        _reaches(
            subject,
            mixed,
            f"the state stream {stream!r}",
            "feed it in predict_chunk, or drop it from info.state",
        )


def info_is_json(subject: AdapterSubject) -> None:
    """`info` is plain data, and its checkpoint hash tells weights apart."""
    info = subject.adapter.info
    try:
        json.dumps(asdict(info))
    except TypeError as error:
        fail(f"info does not turn into JSON ({error}): use str, numbers, tuples and mappings")
    if not info.checkpoint_hash:
        fail("info.checkpoint_hash is empty: set it to the sha256 of the weights")
    if subject.make().info.checkpoint_hash != info.checkpoint_hash:
        fail("tiny(0) built twice has two hashes: seed every weight from `seed`, and hash those")
    if subject.cls.tiny(1).info.checkpoint_hash == info.checkpoint_hash:
        fail("tiny(0) and tiny(1) have equal hashes: hash the loaded weights, not the name")


def specs_declared(subject: AdapterSubject) -> None:
    """Action ranges, state streams and cameras are declared, and the examples fit them."""
    info = subject.adapter.info
    if info.name != subject.cls.name:
        fail(f"info.name is {info.name!r}, the class is named {subject.cls.name!r}")
    if any(low >= high for low, high in zip(info.action.low, info.action.high, strict=True)):
        fail("an action's low is not below its high: write the range the environment accepts")
    if not info.cameras and not info.state:
        fail("neither a camera nor a state stream is declared in info")
    if not info.pathways or len({p.name for p in info.pathways}) != len(info.pathways):
        fail("info.pathways is empty or names one pathway twice")
    example = subject.examples(0)[0]
    shapes = {n: a.shape for n, a in example.images.items()}
    shapes |= {n: a.shape for n, a in example.state.items()}
    wanted: Mapping[str, tuple[int, ...]] = {
        **{n: (c.height, c.width, 3) for n, c in info.cameras.items()},
        **{n: (s.dim,) for n, s in info.state.items()},
    }
    if shapes != wanted:
        fail(f"example_observation() gives {shapes}, info declares {wanted}: make them agree")


def _reaches(
    subject: AdapterSubject,
    mixed: Callable[[Observation, Observation], Observation],
    what: str,
    advice: str,
) -> None:
    """Exact inequality: weak effects of random weights count."""
    mine = subject.examples(0)[0]
    plain = subject.act([mine])
    for other in subject.examples(*_OTHERS):
        if apart(subject.act([mixed(mine, other)]), plain) != 0:
            return
    fail(f"{what} does not reach the action (tried {len(_OTHERS)} others): {advice}")


CHECKS = (
    chunk_matches_info,
    same_generator_same_actions,
    rows_are_independent,
    observation_unchanged,
    reset_forgets,
    image_reaches_the_action,
    instruction_reaches_the_action,
    state_reaches_the_action,
    info_is_json,
    specs_declared,
)
