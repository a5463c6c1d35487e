"""A perturbation that somebody wrote as a plain function."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, field_serializer

from vlascope.perturbations.perturbation import Look, PictureEdit
from vlascope.types import Image

__all__ = ["Function", "Given"]


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


class Given(PictureEdit):
    """A function itself, where nobody wrote its import string; it has to be picklable."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    kind: ClassVar[str] = "given"
    call: Callable[[str, Image], Image]

    @field_serializer("call")
    def _as_text(self, call: Callable[[str, Image], Image]) -> str:
        return repr(call)

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """What the function makes of it."""
        return self.call(camera, picture)
