"""What the policy saw at a moment, and where in the picture a feature fired."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vlascope.errors import UnknownName
from vlascope.hooks import Moment, TokenSpans
from vlascope.rollout import read_episodes
from vlascope.rollout.arrays import read_strip
from vlascope.rollout.film import Strip
from vlascope.store import ActivationStore
from vlascope.types import Image
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.features.index import FeatureIndex

__all__ = ["Frames", "Heat", "HeatMaps", "Picture", "StripFrames", "Window", "overlaid"]

_IMAGE = "image"
_HOT = np.array([255.0, 64.0, 0.0])
_MOST = 0.65


class Picture(NamedTuple):
    """A picture, uint8 (height, width, 3), and the environment step it shows."""

    image: Image
    step: int


Window = tuple[int, int, int]


class Heat(NamedTuple):
    """A feature's value on each patch of one image stream, float32 (side, side).

    `window` is the square of the picture that the patches tile, (row, column, side) in pixels;
    None for the whole picture.
    """

    span: str
    grid: npt.NDArray[np.float32]
    window: Window | None = None


Frames = Callable[[Moment], Picture | None]
"""The picture of a moment, or the one nearest to it; None where none was kept."""


class StripFrames:
    """Pictures from the film strips of a run, the nearest in time.

    Strips hold few pictures evenly spread over an episode, so that the one shown may be of another
    step: `Picture.step` says which. Film with `frames` as large as the number of chunks to have
    every one.

    Args:
        run_dir: where the episodes were played.
        checkpoint_hash: of the policy, where several played there.
    """

    def __init__(self, run_dir: str | Path, checkpoint_hash: str | None = None) -> None:
        self._run_dir = Path(run_dir)
        self._records = {
            record.plan.episode: record
            for record in read_episodes(run_dir)
            if checkpoint_hash in (None, record.policy.checkpoint_hash)
        }
        self._last: tuple[str, Strip | None] | None = None

    def __call__(self, moment: Moment) -> Picture | None:
        """The kept picture nearest to the moment's step."""
        strip = self._strip(moment.episode)
        if strip is None or not len(strip.steps):
            return None
        nearest = int(np.abs(strip.steps - moment.step).argmin())
        return Picture(strip.images[nearest], int(strip.steps[nearest]))

    def _strip(self, episode: str) -> Strip | None:
        if self._last is None or self._last[0] != episode:
            record = self._records.get(episode)
            strip = None if record is None else read_strip(self._run_dir, record)
            self._last = (episode, strip)
        return self._last[1]


class HeatMaps:
    """A feature's values on the patches of an image stream, where those form a square.

    Args:
        sae: the autoencoder of the index.
        store: the activations of the index.
        stream: which image stream the pictures show (`image.top`); None where there is but one.
            With several and none chosen there is no heat: it would lie on the wrong picture.
        window: the square that the policy cuts out of its pictures, see `Heat`.
    """

    def __init__(
        self,
        index: FeatureIndex,
        sae: SparseAutoencoder,
        store: ActivationStore,
        stream: str | None,
        window: Window | None = None,
    ) -> None:
        self._index, self._sae, self._store, self._stream = index, sae, store, stream
        self._window = window
        self._point = next(p for p in store.points if str(p) == index.manifest.point)

    @torch.no_grad()
    def __call__(self, feature: int, moment: Moment) -> Heat | None:
        """The heat there and then; None where no image stream forms a square."""
        values = self._store.lookup(self._point, moment)
        spans = self._store.spans_at(self._point, moment)
        if values is None or spans is None or self._index.manifest.pool != "none":
            return None
        name = self._chosen(spans)
        if name is None:
            return None
        start, stop = spans.pairs()[name]
        side = isqrt(stop - start)
        if side < 2 or side * side != stop - start:
            return None
        x = values[start:stop].to(self._sae.W_enc.device, self._sae.W_enc.dtype)
        found = self._sae.encode(x)[:, feature].float().clamp_min(0)
        return Heat(name, found.cpu().numpy().reshape(side, side), self._window)

    def _chosen(self, spans: TokenSpans) -> str | None:
        images = [name for name in spans.pairs() if name.split(".")[0] == _IMAGE]
        if self._stream is None:
            return images[0] if len(images) == 1 else None
        if self._stream not in images:
            raise UnknownName(
                f"no image stream is named {self._stream!r} at {self._point}; there is: "
                f"{', '.join(images) or 'none'}"
            )
        return self._stream


def overlaid(image: Image, heat: Heat, largest: float) -> Image:
    """The picture with each patch the redder the stronger; `largest` is as red as it gets.

    Row-major patches over the heat's window, as image towers lay them out.

    Raises:
        ValueError: the window leaves the picture.
    """
    height, width = image.shape[:2]
    top, left, tall, wide = 0, 0, height, width
    if heat.window is not None:
        top, left, tall = heat.window
        wide = tall
    if min(top, left) < 0 or top + tall > height or left + wide > width:
        raise ValueError(f"the window {heat.window} leaves a picture of {height} x {width} pixels")
    side = len(heat.grid)
    rows, columns = np.arange(tall) * side // tall, np.arange(wide) * side // wide
    share = np.zeros((height, width, 1))
    strength = heat.grid[np.ix_(rows, columns)] / max(largest, 1e-12)
    share[top : top + tall, left : left + wide, 0] = _MOST * strength.clip(0, 1)
    return (image * (1 - share) + _HOT * share).round().astype(np.uint8)
