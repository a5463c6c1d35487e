"""Perturbations that need more than the present picture of one camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from PIL import Image as Pillow

from vlascope.errors import IncompatibleError
from vlascope.perturbations.perturbation import Look, Perturbation, PictureEdit
from vlascope.specs import CameraSpec
from vlascope.types import Image

__all__ = ["CameraDrop", "CameraSwap", "FreezeFirst"]


class FreezeFirst(PictureEdit):
    """Show the episode's first picture again, at a share `severity` of looks."""

    kind: ClassVar[str] = "freeze_first"
    by_share: ClassVar[bool] = True

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """What this camera showed first."""
        return look.first[camera]


class CameraDrop(PictureEdit):
    """A camera that is lost: black, at a share `severity` of looks."""

    kind: ClassVar[str] = "camera_drop"
    by_share: ClassVar[bool] = True

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Black."""
        return np.zeros_like(picture)


class CameraSwap(Perturbation):
    """Every named camera shows what the next one sees, the last what the first sees.

    At a share `severity` of looks; pictures of another size are resized.
    """

    kind: ClassVar[str] = "camera_swap"
    by_share: ClassVar[bool] = True

    def change(self, pictures: Mapping[str, Image], look: Look) -> Mapping[str, Image]:
        """Pass the pictures on, in the order of the cameras' names."""
        named = sorted(camera for camera in pictures if self.concerns(camera))
        passed = zip(named, named[1:] + named[:1], strict=True)
        return {here: _fitted(pictures[there], pictures[here]) for here, there in passed}

    def check(self, cameras: Mapping[str, CameraSpec]) -> None:
        """There must be two cameras to swap."""
        super().check(cameras)
        named = [camera for camera in cameras if self.concerns(camera)]
        if len(named) < 2:
            raise IncompatibleError(
                f"camera_swap needs two cameras and has {named} of {sorted(cameras)}: name more "
                "of them in `cameras`, or leave it out for this benchmark"
            )


def _fitted(picture: Image, like: Image) -> Image:
    if picture.shape == like.shape:
        return picture
    size = (like.shape[1], like.shape[0])
    return np.asarray(Pillow.fromarray(picture).resize(size, Pillow.Resampling.BILINEAR))
