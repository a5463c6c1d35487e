"""Perturbations of light and colour."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from vlascope.perturbations.perturbation import Look, PictureEdit
from vlascope.types import Image

__all__ = ["Brightness", "Colour", "Contrast", "Greyscale", "blend"]

_MOST = 0.8
_LUMA = np.array([0.299, 0.587, 0.114])


def blend(picture: Image, other: npt.NDArray[np.floating], share: float) -> Image:
    """(1 - share) of the picture and `share` of something that broadcasts against it."""
    mixed = (1 - share) * picture + share * other
    return mixed.round().clip(0, 255).astype(np.uint8)


class Brightness(PictureEdit):
    """Go up to 80% of the way to black (`darker`) or to white (`brighter`)."""

    kind: ClassVar[str] = "brightness"
    direction: Literal["darker", "brighter"] = "darker"

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Blend with black or white."""
        end = np.array(0.0 if self.direction == "darker" else 255.0)
        return blend(picture, end, _MOST * self.severity)


class Contrast(PictureEdit):
    """Go up to 80% of the way to the picture's own mean colour."""

    kind: ClassVar[str] = "contrast"

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Blend with the mean, per channel."""
        return blend(picture, picture.mean(axis=(0, 1)), _MOST * self.severity)


class Colour(PictureEdit):
    """Turn the hue, by half the colour circle at severity 1; greys stay as they are."""

    kind: ClassVar[str] = "colour"

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Shift the hue in HSV; a picture is not sent through HSV for nothing."""
        shift = round(self.severity * 128)
        if shift == 0:
            return picture
        hsv = np.array(Pillow.fromarray(picture).convert("HSV"))
        hsv[..., 0] = (hsv[..., 0].astype(np.int64) + shift) % 256
        return np.asarray(Pillow.fromarray(hsv, "HSV").convert("RGB"))


class Greyscale(PictureEdit):
    """Take the colour out: luma (ITU-R BT.601) in all three channels at severity 1."""

    kind: ClassVar[str] = "greyscale"

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Blend with the luma."""
        return blend(picture, (picture.astype(np.float64) @ _LUMA)[..., None], self.severity)
