"""Observations as openpi's clients send them, flat or nested, and what a policy reads of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vlascope.adapter import AdapterInfo
from vlascope.errors import IncompatibleError
from vlascope.types import FloatArray, Image, Observation

__all__ = ["PROMPT", "observed"]

PROMPT = "prompt"


def observed(
    request: Mapping[str, Any], info: AdapterInfo, keys: Mapping[str, str] | None = None
) -> Observation:
    """A client's observation as the policy reads it.

    Args:
        request: nested maps count as keys joined by `/`. Each camera and state stream is looked
            for under the key given for it, else under its own name, at the top or below
            `observation`, `images` or `observation/images`. One vector `state` holds all streams
            end to end. Pictures may be (3, height, width), and floats in [0, 1].
        info: the policy.
        keys: camera or stream by key, such as `{"observation/image": "agentview"}`.

    Raises:
        IncompatibleError: naming the camera or state that is missing or of another size.
    """
    flat = dict(_flat(request))
    given = {name: key for key, name in (keys or {}).items()}
    images = {
        name: _picture(name, _found("camera", name, flat, given), (spec.height, spec.width))
        for name, spec in info.cameras.items()
    }
    state = _streams(flat, info, given)
    return Observation(str(flat.get(given.get(PROMPT, PROMPT), "")), images, state)


def _flat(request: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in request.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _places(name: str, given: Mapping[str, str]) -> list[str]:
    if name in given:
        return [given[name]]
    return [f"{folder}{name}" for folder in ("", "observation/", "images/", "observation/images/")]


def _found(kind: str, name: str, flat: Mapping[str, Any], given: Mapping[str, str]) -> Any:
    for place in _places(name, given):
        if place in flat:
            return flat[place]
    raise IncompatibleError(
        f"the policy reads {kind} {name!r}, under the key {_places(name, given)[-1]!r} for one; "
        f"the observation has {', '.join(sorted(flat))}: send it, or start the server with "
        f"--key KEY={name}"
    )


def _picture(name: str, value: Any, size: tuple[int, int]) -> Image:
    picture: npt.NDArray[Any] = np.asarray(value)
    if picture.ndim == 3 and picture.shape[0] == 3 and picture.shape[2] != 3:
        picture = picture.transpose(1, 2, 0)
    if picture.shape != (*size, 3):
        raise IncompatibleError(
            f"camera {name!r} is {size[0]}x{size[1]} with 3 channels; got shape {picture.shape}"
        )
    if picture.dtype.kind == "f":
        picture = np.round(255 * np.clip(picture, 0, 1))
    return np.ascontiguousarray(picture, np.uint8)


def _streams(
    flat: Mapping[str, Any], info: AdapterInfo, given: Mapping[str, str]
) -> dict[str, FloatArray]:
    """By stream; cut out of one vector where that is what was sent."""
    joined = next((flat[k] for k in ("state", "observation/state") if k in flat), None)
    named = [any(place in flat for place in _places(n, given)) for n in info.state]
    if joined is None or all(named):
        found = {n: _found("state", n, flat, given) for n in info.state}
    else:
        total = sum(spec.dim for spec in info.state.values())
        vector = np.asarray(joined).reshape(-1)
        if len(vector) != total:
            raise IncompatibleError(
                f"'state' has {len(vector)} numbers; the policy reads {total}: "
                + ", ".join(f"{n} ({s.dim})" for n, s in info.state.items())
            )
        ends = np.cumsum([spec.dim for spec in info.state.values()])[:-1]
        found = dict(zip(info.state, np.split(vector, ends), strict=True))
    state: dict[str, FloatArray] = {
        n: np.array(v, np.float32).reshape(-1) for n, v in found.items()
    }
    for name, values in state.items():
        if len(values) != info.state[name].dim:
            raise IncompatibleError(
                f"state {name!r} has {len(values)} numbers; the policy reads "
                f"{info.state[name].dim}: {', '.join(info.state[name].names)}"
            )
    return state
