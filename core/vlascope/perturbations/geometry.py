"""Perturbations that move the picture: a crop, a rotation, a mirror image."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from PIL import Image as Pillow

from vlascope.perturbations.perturbation import Look, PictureEdit
from vlascope.types import Image

__all__ = ["Crop", "Flip", "Rotate"]

_MOST_CROPPED = 0.5
_MOST_DEGREES = 45.0


class Crop(PictureEdit):
    """Keep a window of 1 - severity / 2 of either side and enlarge it to the picture's size.

    Attributes:
        place: the window's place: the centre, or anywhere, drawn once per episode and camera.
    """

    kind: ClassVar[str] = "crop"
    place: Literal["centre", "random"] = "centre"

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Cut and enlarge, bilinearly."""
        height, width = picture.shape[:2]
        cut = self.severity * _MOST_CROPPED
        at = look.episode_rng(camera).random(2) if self.place == "random" else (0.5, 0.5)
        left, top = cut * width * at[0], cut * height * at[1]
        box = (left, top, left + (1 - cut) * width, top + (1 - cut) * height)
        resized = Pillow.fromarray(picture).resize(
            (width, height), Pillow.Resampling.BILINEAR, box=box
        )
        return np.asarray(resized)


class Rotate(PictureEdit):
    """Turn the picture about its centre by 45 degrees at severity 1; corners turn mid-grey.

    Attributes:
        direction: which way.
    """

    kind: ClassVar[str] = "rotate"
    direction: Literal["left", "right"] = "left"

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Turn, bilinearly."""
        degrees = self.severity * _MOST_DEGREES * (1 if self.direction == "left" else -1)
        turned = Pillow.fromarray(picture).rotate(
            degrees, Pillow.Resampling.BILINEAR, fillcolor=(127, 127, 127)
        )
        return np.asarray(turned)


class Flip(PictureEdit):
    """The mirror image, at a share `severity` of looks.

    Attributes:
        axis: `horizontal` swaps left and right, `vertical` top and bottom.
    """

    kind: ClassVar[str] = "flip"
    by_share: ClassVar[bool] = True
    axis: Literal["horizontal", "vertical"] = "horizontal"

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Mirror."""
        mirrored = picture[:, ::-1] if self.axis == "horizontal" else picture[::-1]
        return np.ascontiguousarray(mirrored)
