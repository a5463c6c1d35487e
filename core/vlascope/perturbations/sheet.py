"""A contact sheet: one picture under many perturbations, each with its name."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from vlascope.perturbations.perturbation import Look, Perturbation
from vlascope.types import Image

__all__ = ["contact_sheet", "png_uri"]

_TILE, _GAP, _LABEL = 128, 6, 16


def contact_sheet(
    pictures: Mapping[str, Image],
    tiles: Mapping[str, Sequence[Perturbation]],
    *,
    first: Mapping[str, Image] | None = None,
    camera: str | None = None,
    columns: int = 6,
    seed: int = 0,
) -> Image:
    """What one camera shows as it is, and under each tile's perturbations.

    Args:
        pictures: uint8 (height, width, 3) by camera.
        tiles: perturbations in order, by the name to be written under the tile.
        first: what the cameras showed first in the episode; by default the same pictures.
        camera: whose picture is shown; by default the first.
        columns: tiles in a row.
        seed: of what is random.

    Returns:
        uint8 (height, width, 3).
    """
    camera = next(iter(pictures)) if camera is None else camera
    shown = {"as it is": pictures[camera]}
    for label, perturbations in tiles.items():
        seen = dict(pictures)
        for i, perturbation in enumerate(perturbations):
            seen = perturbation.apply(seen, Look(0, seed, i, first or pictures))
        shown[label] = seen[camera]
    rows = -(-len(shown) // columns)
    size = (columns * (_TILE + _GAP) + _GAP, rows * (_TILE + _LABEL + _GAP) + _GAP)
    sheet = Pillow.new("RGB", size, "white")
    drawing = ImageDraw.Draw(sheet)
    for i, (label, picture) in enumerate(shown.items()):
        left = _GAP + (i % columns) * (_TILE + _GAP)
        top = _GAP + (i // columns) * (_TILE + _LABEL + _GAP)
        tile = Pillow.fromarray(picture).resize((_TILE, _TILE), Pillow.Resampling.NEAREST)
        sheet.paste(tile, (left, top))
        drawing.text((left, top + _TILE + 2), label, fill="black")
    return np.asarray(sheet)


def png_uri(picture: Image) -> str:
    """The picture as `data:image/png;base64,...`."""
    held = BytesIO()
    Pillow.fromarray(picture).save(held, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
