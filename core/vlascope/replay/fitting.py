"""Which feature of a dataset is which camera or state stream of a policy."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from vlascope.adapter import AdapterInfo
from vlascope.errors import IncompatibleError, InvalidName, unknown_name
from vlascope.replay.dataset import Features, Frame, Picture, Vector
from vlascope.specs import CameraSpec, StateSpec
from vlascope.types import Image, Observation

__all__ = ["Fit", "Part", "fit"]

_SLICED = re.compile(r"(?P<feature>.+)\[(?P<start>\d+):(?P<stop>\d+)\]")


@dataclass(frozen=True)
class Part:
    """Some of a vector feature's numbers, half-open: `observation.state[0:3]`."""

    feature: str
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.feature}[{self.start}:{self.stop}]"


@dataclass(frozen=True)
class Fit:
    """How frames become observations of one policy.

    Attributes:
        cameras: the feature and the (height, width) that each of the policy's cameras shows.
        states: the numbers of each of its state streams.
    """

    cameras: Mapping[str, tuple[str, tuple[int, int]]]
    states: Mapping[str, Part]

    @property
    def features(self) -> Collection[str]:
        """The features that are read."""
        return {f for f, _ in self.cameras.values()} | {p.feature for p in self.states.values()}

    def observation(self, frame: Frame) -> Observation:
        """What the policy would have been shown."""
        return Observation(
            instruction=frame.instruction,
            images={c: _sized(frame.values[f], size) for c, (f, size) in self.cameras.items()},
            state={
                stream: np.asarray(frame.values[p.feature][p.start : p.stop], np.float32)
                for stream, p in self.states.items()
            },
        )

    def __str__(self) -> str:
        cameras = [f"{feature}={camera}" for camera, (feature, _) in self.cameras.items()]
        return ", ".join([*cameras, *(f"{part}={stream}" for stream, part in self.states.items())])


def fit(
    features: Features,
    info: AdapterInfo,
    *,
    cameras: Mapping[str, str] | None = None,
    states: Mapping[str, str] | None = None,
    resize: bool = False,
) -> Fit:
    """Find a feature for everything that the policy reads.

    Args:
        features: what the dataset offers.
        info: the policy.
        cameras: `{"observation.images.image": "agentview"}`, feature to camera. A camera that is
            not named takes the feature of its own name, with or without a prefix before a dot.
        states: `{"observation.state[0:3]": "position"}`, feature or part of one to state stream.
            A stream that is not named takes the feature of its own name, or the numbers that are
            called `stream.number`.
        resize: scale pictures of another size to the policy's, instead of refusing them.

    Raises:
        IncompatibleError: naming the feature that does not fit, or what has none.
        UnknownName: no feature, camera or stream goes by a name given; near matches are listed.
        InvalidName: two features are given for one camera or stream.
    """
    by_camera = _turned("camera", cameras or {}, info.cameras)
    by_stream = _turned("state stream", states or {}, info.state)
    return Fit(
        {
            name: _camera(name, spec, by_camera.get(name), features.pictures, resize)
            for name, spec in info.cameras.items()
        },
        {
            name: _stream(name, spec, by_stream.get(name), features.vectors)
            for name, spec in info.state.items()
        },
    )


def _turned(kind: str, given: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """Feature by camera or stream, each known and named once."""
    found: dict[str, str] = {}
    for feature, name in given.items():
        if name not in known:
            raise unknown_name(kind, name, known)
        if name in found:
            raise InvalidName(f"{kind} {name!r} is given {found[name]!r} and {feature!r}; give one")
        found[name] = feature
    return found


def _camera(
    name: str, spec: CameraSpec, given: str | None, offered: Mapping[str, Picture], resize: bool
) -> tuple[str, tuple[int, int]]:
    feature = given or _named_like(name, offered)
    if feature is None:
        raise IncompatibleError(
            f"the policy reads camera {name!r} ({spec.height}x{spec.width}) and no feature is "
            f"called that; the dataset's pictures are {_pictures(offered)}: say which one it is "
            f"(--camera FEATURE={name})"
        )
    if feature not in offered:
        raise unknown_name("picture feature", feature, offered)
    found = offered[feature]
    if not resize and (found.height, found.width) != (spec.height, spec.width):
        raise IncompatibleError(
            f"feature {feature!r} is {found.height}x{found.width}; camera {name!r} of the policy "
            f"is {spec.height}x{spec.width}: choose another feature, or allow scaling (--resize)"
        )
    meant = found.meaning
    if meant is not None and (meant.render, meant.upright) != (spec.render, spec.upright):
        raise IncompatibleError(
            f"feature {feature!r} is rendered {meant.render!r}, upright {meant.upright}; camera "
            f"{name!r} of the policy is {spec.render!r}, upright {spec.upright}"
        )
    return feature, (spec.height, spec.width)


def _stream(name: str, spec: StateSpec, given: str | None, offered: Mapping[str, Vector]) -> Part:
    part = _part(given, offered) if given is not None else _stream_like(name, spec, offered)
    if part is None:
        raise IncompatibleError(
            f"the policy reads state {name!r} ({spec.dim} numbers: {', '.join(spec.names)}) and "
            f"no feature is called that; the dataset's vectors are {_vectors(offered)}: say which "
            f"one it is (--state FEATURE={name} or --state 'FEATURE[0:{spec.dim}]={name}')"
        )
    feature = offered[part.feature]
    if part.stop > len(feature.names):
        raise IncompatibleError(
            f"{part} reaches beyond feature {part.feature!r}, which has {len(feature.names)} "
            f"numbers: {', '.join(feature.names)}"
        )
    if part.stop - part.start != spec.dim:
        raise IncompatibleError(
            f"feature {given or part.feature!r} gives {part.stop - part.start} numbers "
            f"({', '.join(feature.names[part.start : part.stop])}); state {name!r} of the policy "
            f"is {spec.dim}: {', '.join(spec.names)}"
        )
    if feature.meaning is not None and len(feature.names) == spec.dim and feature.meaning != spec:
        raise IncompatibleError(
            f"feature {part.feature!r} is {feature.meaning.names} in {feature.meaning.units}; "
            f"state {name!r} of the policy is {spec.names} in {spec.units}"
        )
    return part


def _part(given: str, offered: Mapping[str, Vector]) -> Part:
    sliced = _SLICED.fullmatch(given)
    feature = sliced["feature"] if sliced else given
    if feature not in offered:
        raise unknown_name("vector feature", feature, offered)
    if sliced:
        return Part(feature, int(sliced["start"]), int(sliced["stop"]))
    return Part(feature, 0, len(offered[feature].names))


def _stream_like(name: str, spec: StateSpec, offered: Mapping[str, Vector]) -> Part | None:
    """The feature of that name, or consecutive numbers called `name.number`."""
    feature = _named_like(name, offered)
    if feature is not None:
        return Part(feature, 0, len(offered[feature].names))
    wanted = [f"{name}.{number}" for number in spec.names]
    for other, vector in offered.items():
        for start in range(len(vector.names) - len(wanted) + 1):
            if list(vector.names[start : start + len(wanted)]) == wanted:
                return Part(other, start, start + len(wanted))
    return None


def _named_like(name: str, offered: Collection[str]) -> str | None:
    """The feature of exactly that name, else the only one that ends in `.name`."""
    if name in offered:
        return name
    found = [feature for feature in offered if feature.endswith(f".{name}")]
    return found[0] if len(found) == 1 else None


def _sized(picture: Image, size: tuple[int, int]) -> Image:
    if picture.shape[:2] == size:
        return picture
    from PIL import Image as Pillow

    height, width = size
    scaled = Pillow.fromarray(picture).resize((width, height), Pillow.Resampling.BILINEAR)
    return np.asarray(scaled, np.uint8)


def _pictures(offered: Mapping[str, Picture]) -> str:
    return ", ".join(f"{n} ({p.height}x{p.width})" for n, p in offered.items()) or "none"


def _vectors(offered: Mapping[str, Vector]) -> str:
    return ", ".join(f"{n} ({len(v.names)}: {', '.join(v.names)})" for n, v in offered.items())
