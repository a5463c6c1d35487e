"""Pictures to keep of an episode: a film strip, and a video where asked for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from vlascope.errors import CapabilityMissing
from vlascope.types import Image

__all__ = ["Film", "Strip", "encode_mp4", "evenly_spaced", "require_video"]


@dataclass(frozen=True)
class Film:
    """What to keep of what is seen.

    Attributes:
        frames: pictures in the film strip, evenly spaced over the episode's chunk boundaries; 0
            for none.
        only: the (task, seed) pairs to film; None for every episode.
        view: `observation` reuses the policy's own pictures (one extra render an episode, for
            the last one); `frame` renders the benchmark's picture for people at every chunk.
        video: also write an mp4 of the picture for people (needs `vlascope[video]`).
        video_every: environment steps per video frame.
    """

    frames: int = 8
    only: frozenset[tuple[str, int]] | None = None
    view: Literal["observation", "frame"] = "observation"
    video: bool = False
    video_every: int = 4

    def __post_init__(self) -> None:
        if self.frames < 0 or self.video_every < 1:
            raise ValueError("frames is at least 0 and video_every at least 1")
        if self.only is not None:
            object.__setattr__(self, "only", frozenset((t, int(s)) for t, s in self.only))

    def wants(self, task: str, seed: int) -> bool:
        """Whether this episode is filmed."""
        return self.only is None or (task, seed) in self.only


@dataclass(frozen=True, eq=False)
class Strip:
    """Pictures of one episode, uint8 (frames, height, width, 3), and the steps they show."""

    images: npt.NDArray[np.uint8] = field(repr=False)
    steps: npt.NDArray[np.int64]


def evenly_spaced(images: Sequence[Image], steps: Sequence[int], n: int) -> Strip | None:
    """At most `n` of the pictures, the first and the last among them; None for no picture."""
    if n == 0 or not images:
        return None
    chosen = np.unique(np.linspace(0, len(images) - 1, min(n, len(images))).round().astype(int))
    return Strip(
        np.stack([images[i] for i in chosen]), np.array([steps[i] for i in chosen], np.int64)
    )


def require_video() -> None:
    """Refuse a video where it cannot be encoded.

    Raises:
        CapabilityMissing: PyAV is not installed.
    """
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise CapabilityMissing("videos need PyAV: pip install 'vlascope[video]'") from error


def encode_mp4(images: Sequence[Image], fps: float) -> bytes:
    """H.264 in an mp4, as bytes.

    Raises:
        CapabilityMissing: PyAV is not installed.
    """
    require_video()
    import av

    height, width = (side - side % 2 for side in images[0].shape[:2])
    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        stream = container.add_stream("h264", rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in images:
            cropped = np.ascontiguousarray(image[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cropped, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()
