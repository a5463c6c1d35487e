"""A perturbation that somebody wrote as a plain function."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Annotated, ClassVar

from pydantic import Field

from vlascope.perturbations.perturbation import Look, PictureEdit
from vlascope.types import Image

__all__ = ["Function"]


class Function(PictureEdit):
    """Call `target`, `"package.module:name"` of a `(camera, picture) -> picture`.

    Acts at a share `severity` of looks. It runs where the environments do, so it has to be
    importable there.
    """

    kind: ClassVar[str] = "function"
    by_share: ClassVar[bool] = True
    target: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")]

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """What the function makes of it."""
        return resolve_name(self.target)(camera, picture)
