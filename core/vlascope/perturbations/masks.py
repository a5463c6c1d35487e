"""Perturbations that cover a part of the picture."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from vlascope.perturbations.perturbation import Look, PictureEdit
from vlascope.perturbations.tone import blend
from vlascope.types import Image

__all__ = ["HalfMask", "Occlusion", "cell_bounds"]

Fill = Literal["grey", "black", "white", "mean"]
_FILLS = {"grey": 127.0, "black": 0.0, "white": 255.0}


def cell_bounds(side: int, grid: int, index: int) -> tuple[int, int]:
    """First and end pixel of a cell along a side that need not divide evenly."""
    return round(side * index / grid), round(side * (index + 1) / grid)


class Occlusion(PictureEdit):
    """Cover one cell of a grid x grid division of the picture; severity is the cover's opacity.

    Attributes:
        grid: cells along either side.
        cell: (row, column), from the top left, counted from 0.
        fill: mid-grey (127), black, white, or the whole picture's mean colour.
    """

    kind: ClassVar[str] = "occlusion"
    grid: Annotated[int, Field(ge=1, le=64)] = 4
    cell: tuple[int, int]
    fill: Fill = "grey"

    @model_validator(mode="after")
    def _cell_lies_in_grid(self) -> Occlusion:
        if not all(0 <= i < self.grid for i in self.cell):
            raise ValueError(
                f"cell {list(self.cell)} is not in a {self.grid} x {self.grid} grid: rows and "
                f"columns go from 0 to {self.grid - 1}"
            )
        return self

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Cover the cell."""
        rows = cell_bounds(picture.shape[0], self.grid, self.cell[0])
        columns = cell_bounds(picture.shape[1], self.grid, self.cell[1])
        return _covered(picture, slice(*rows), slice(*columns), self.fill, self.severity)


class HalfMask(PictureEdit):
    """Cover one half of the picture; severity is the cover's opacity."""

    kind: ClassVar[str] = "half_mask"
    side: Literal["left", "right", "top", "bottom"] = "left"
    fill: Fill = "grey"

    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """Cover the half."""
        height, width = picture.shape[:2]
        first, second = slice(0, None), slice(0, None)
        if self.side in ("left", "right"):
            second = slice(0, width // 2) if self.side == "left" else slice(width // 2, None)
        else:
            first = slice(0, height // 2) if self.side == "top" else slice(height // 2, None)
        return _covered(picture, first, second, self.fill, self.severity)


def _covered(picture: Image, rows: slice, columns: slice, fill: Fill, opacity: float) -> Image:
    colour: npt.NDArray[np.floating] = (
        picture.mean(axis=(0, 1)) if fill == "mean" else np.array(_FILLS[fill])
    )
    covered = picture.copy()
    covered[rows, columns] = blend(picture[rows, columns], colour, opacity)
    return covered
