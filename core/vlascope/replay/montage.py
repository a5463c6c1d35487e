"""Videos of several episodes in one, each under its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from vlascope.types import Image

__all__ = ["side_by_side"]

_LABEL: Final = 40
_NARROWEST: Final = 192
_IN_A_ROW: Final = 4


def side_by_side(clips: Mapping[str, Sequence[Image]]) -> list[Image]:
    """Pictures that show all clips at once; a shorter clip rests on its last picture.

    Up to four stand in a row, more of them in a square.

    Args:
        clips: pictures of one size by the text, of one or two lines, that is written above them.
    """
    columns = len(clips) if len(clips) <= _IN_A_ROW else int(np.ceil(np.sqrt(len(clips))))
    rested = [_rested(text, clip, _longest(clips)) for text, clip in clips.items()]
    return [_grid(pictures, columns) for pictures in zip(*rested, strict=True)]


def _longest(clips: Mapping[str, Sequence[Image]]) -> int:
    return max(len(clip) for clip in clips.values())


def _rested(text: str, clip: Sequence[Image], length: int) -> Iterator[Image]:
    for i in range(length):
        yield _labelled(clip[min(i, len(clip) - 1)], text)


def _labelled(image: Image, text: str) -> Image:
    """The picture below its text, enlarged to whole pixels where it is narrower than that."""
    times = -(-_NARROWEST // image.shape[1])
    picture = image.repeat(times, axis=0).repeat(times, axis=1)
    page = Pictures.new("RGB", (picture.shape[1], picture.shape[0] + _LABEL), "white")
    page.paste(Pictures.fromarray(picture), (0, _LABEL))
    ImageDraw.Draw(page).text((6, 3), text, "black", ImageFont.load_default(13))
    return np.asarray(page)


def _grid(pictures: Sequence[Image], columns: int) -> Image:
    """Row by row; what is left of the last row stays white."""
    blank = np.full_like(pictures[0], 255)
    missing = -len(pictures) % columns
    filled = [*pictures, *[blank] * missing]
    rows = [filled[i : i + columns] for i in range(0, len(filled), columns)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
