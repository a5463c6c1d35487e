"""A policy of which only openpi's protocol is known: observations in, actions out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Pillow

from vlascope import plugins
from vlascope.adapter import AdapterInfo
from vlascope.benchmark import BenchmarkInfo
from vlascope.errors import IncompatibleError, InvalidName, ServerLost, unknown_name
from vlascope.serving import Connection
from vlascope.serving.plain import PROMPT
from vlascope.types import FloatArray, Image, Observation

__all__ = ["PlainPolicy", "plain_policy"]

_ACTIONS = "actions"


@dataclass(frozen=True)
class PlainPolicy:
    """How one server is asked.

    Attributes:
        connection: to it.
        info: what is said of the policy, as the server says nothing.
        keys: cameras, lists of state streams, and `prompt`, by key.
        resize: side of the square that pictures are scaled into.
    """

    connection: Connection
    info: AdapterInfo
    keys: Mapping[str, str | tuple[str, ...]]
    resize: int | None

    def act(self, observation: Observation) -> FloatArray:
        """The next chunk, float32 (horizon, action_dim)."""
        actions = _asked(self.connection, _request(observation, self.keys, self.resize))
        if actions.shape != (self.info.horizon, self.info.action.dim):
            raise IncompatibleError(
                f"the server at {self.connection.address} gave actions of shape {actions.shape}; "
                f"its first were ({self.info.horizon}, {self.info.action.dim})"
            )
        return actions


def plain_policy(
    connection: Connection,
    *,
    benchmark: str | None,
    benchmark_options: Mapping[str, Any],
    keys: Mapping[str, Any] | None,
    executed_steps: int | None,
    resize: int | None,
    identity: str | None,
) -> PlainPolicy:
    """Describe a server's policy by its benchmark, and measure the length of its chunks.

    Raises:
        InvalidName: no benchmark or no keys are given.
        UnknownName: a key is given a name that the benchmark does not have.
        IncompatibleError: its actions are not as long as the benchmark's.
    """
    if benchmark is None or not keys:
        raise InvalidName(
            f"the server at {connection.address} speaks openpi's protocol and does not say what "
            "its policy reads: give benchmark=NAME (whose actions, cameras and states are its "
            "own) and keys={'observation/image': CAMERA, 'observation/state': STREAM, 'prompt': "
            "'prompt'} as its client would send them"
        )
    env = plugins.benchmark_class(benchmark)(**benchmark_options)
    world = env.info
    env.close()
    sent = _keys(keys, world)
    named = {n for v in sent.values() for n in ((v,) if isinstance(v, str) else v)}
    blank = Observation(
        "",
        {n: np.zeros((c.height, c.width, 3), np.uint8) for n, c in world.cameras.items()},
        {n: np.zeros(s.dim, np.float32) for n, s in world.state.items()},
    )
    horizon, dim = _asked(connection, _request(blank, sent, resize)).shape
    if dim != world.action.dim:
        raise IncompatibleError(
            f"the server at {connection.address} gives {dim} numbers an action, {world.name} "
            f"takes {world.action.dim}: {', '.join(world.action.names)}"
        )
    about = [identity or connection.address, repr(connection.metadata), json.dumps(sent), resize]
    return PlainPolicy(
        connection,
        AdapterInfo(
            name="remote",
            checkpoint=connection.address,
            checkpoint_hash=hashlib.sha256(repr(about).encode()).hexdigest(),
            pathways=(),
            horizon=horizon,
            executed_steps=executed_steps or horizon,
            action=world.action,
            state={n: s for n, s in world.state.items() if n in named},
            cameras={n: c for n, c in world.cameras.items() if n in named},
            notes={"hash": "of the address or the identity given, not of weights"},
        ),
        sent,
        resize,
    )


def _keys(given: Mapping[str, Any], world: BenchmarkInfo) -> dict[str, str | tuple[str, ...]]:
    found: dict[str, str | tuple[str, ...]] = {}
    for key, value in given.items():
        names = (value,) if isinstance(value, str) else tuple(value)
        alone = isinstance(value, str) and (value in world.cameras or value == PROMPT)
        for name in () if alone else names:
            if name not in world.state:
                raise unknown_name(
                    "camera, state stream or prompt", name, [*world.cameras, *world.state, PROMPT]
                )
        found[key] = value if alone else names
    return found


def _request(
    observation: Observation, keys: Mapping[str, str | Sequence[str]], resize: int | None
) -> dict[str, Any]:
    """What openpi's own client would send."""
    request: dict[str, Any] = {}
    for key, name in keys.items():
        if not isinstance(name, str):
            request[key] = np.concatenate([observation.state[n] for n in name])
        elif name in observation.images:
            picture = observation.images[name]
            request[key] = picture if resize is None else _padded(picture, resize)
        else:
            request[key] = observation.instruction
    return request


def _asked(connection: Connection, request: Mapping[str, Any]) -> FloatArray:
    answer = connection.ask(request)
    if _ACTIONS not in answer:
        raise ServerLost(
            f"the server at {connection.address} answers with {sorted(map(str, answer))} and no "
            f"{_ACTIONS!r}: it is no openpi policy server"
        )
    actions = np.array(answer[_ACTIONS], np.float32)
    return actions[None] if actions.ndim == 1 else actions


def _padded(picture: Image, side: int) -> Image:
    """Scaled to fit a square, centred on black."""
    height, width = picture.shape[:2]
    scale = max(height, width) / side
    size = (int(width / scale), int(height / scale))
    scaled = Pillow.fromarray(picture).resize(size, Pillow.Resampling.BILINEAR)
    canvas = Pillow.new("RGB", (side, side))
    canvas.paste(scaled, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(canvas, np.uint8)
