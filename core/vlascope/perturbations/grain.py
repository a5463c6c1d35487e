"""Perturbations of sharpness: blur and sensor noise."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFilter

from vlascope.perturbations.perturbation import Look, PictureEdit
from vlascope.types import Image

__all__ = ["Blur", "Noise"]

_WIDEST = 0.06
_NOISIEST = 64.0


class Blur(PictureEdit):
    """Gaussian blur; its standard deviation is up to 6% of the shorter side."""

    kind: ClassVar[str] = "blur"

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Convolve."""
        radius = self.severity * _WIDEST * min(picture.shape[:2])
        return np.asarray(Pillow.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


class Noise(PictureEdit):
    """Independent Gaussian noise in every channel, standard deviation up to 64 of 255.

    Drawn anew at every step, the same for the same seed, step and camera.
    """

    kind: ClassVar[str] = "noise"

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Add and clip."""
        drawn = look.rng(camera).standard_normal(picture.shape) * (self.severity * _NOISIEST)
        return (picture + drawn).round().clip(0, 255).astype(np.uint8)
