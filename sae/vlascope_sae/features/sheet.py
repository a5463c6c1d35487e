"""A contact sheet: the pictures of a feature's strongest moments, as one PNG or one HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from vlascope.hooks import Moment
from vlascope.store.durable import write_atomically
from vlascope.types import Image
from vlascope_sae.features.index import FeatureIndex, TopMoment
from vlascope_sae.features.pictures import Frames, Heat, overlaid

__all__ = ["Cell", "Sheet", "contact_sheet", "write_html", "write_png"]

WIDTH: Final = 176
COLUMNS: Final = 4
_MARGIN, _LINE, _HEADER = 8, 14, 56
_GREY = 200


class Cell(NamedTuple):
    """One moment: its picture (None where none was kept) and what stands below it."""

    image: Image | None
    caption: tuple[str, ...]


class Sheet(NamedTuple):
    """A feature's strongest moments; `facts` stand above them."""

    title: str
    facts: tuple[str, ...]
    cells: tuple[Cell, ...]


def contact_sheet(
    index: FeatureIndex,
    feature: int,
    frames: Frames,
    *,
    heat: Callable[[int, Moment], Heat | None] | None = None,
    n: int = 12,
    about: str = "",
) -> Sheet:
    """The pictures of the strongest moments, strongest first.

    Args:
        index: the index.
        feature: which feature.
        frames: the picture of a moment.
        heat: the feature's value on each patch, laid over the picture; see `HeatMaps`.
        n: moments at most.
        about: one more line for the header, such as P(general).
    """
    largest = float(index.column("max")[feature])
    cells = []
    for top in index.top(feature)[:n]:
        picture = frames(top.moment)
        hot = None if heat is None else heat(feature, top.moment)
        image = None if picture is None else picture.image
        if image is not None and hot is not None:
            image = overlaid(image, hot, largest)
        cells.append(Cell(image, _caption(top, None if picture is None else picture.step, hot)))
    rate, coverage = index.column("firing_rate")[feature], index.column("coverage")[feature]
    facts = (
        f"fires in {rate:.3%} of rows, in {coverage:.1%} of {index.manifest.episodes} episodes",
        f"max {largest:.3g}, mean when on {index.column('mean_on')[feature]:.3g}",
        *([about] if about else []),
    )
    return Sheet(f"feature {feature} at {index.manifest.point}", facts, tuple(cells))


def write_png(sheet: Sheet, path: Path) -> Path:
    """The sheet as one picture."""
    write_atomically(path, _png(np.asarray(_drawn(sheet))))
    return path


def write_html(sheet: Sheet, path: Path) -> Path:
    """The sheet as one page that needs nothing else, pictures inside."""
    figures = "\n".join(_figure(cell) for cell in sheet.cells)
    facts = "".join(f"<li>{escape(fact)}</li>" for fact in sheet.facts)
    write_atomically(path, _PAGE.format(escape(sheet.title), facts, figures).encode())
    return path


def _caption(top: TopMoment, shown: int | None, heat: Heat | None) -> tuple[str, ...]:
    moment = top.moment
    when = f"step {moment.step} chunk {moment.chunk} call {moment.call}"
    place = "all tokens" if top.token < 0 else f"token {top.token} {top.span or ''}".strip()
    lines = [f"{top.value:.3g}  {place}", when, moment.episode]
    if shown is None:
        lines.append("no picture was kept")
    elif shown != moment.step:
        lines.append(f"picture of step {shown}")
    if heat is not None:
        lines.append(f"heat: {heat.span}")
    return tuple(lines)


def _drawn(sheet: Sheet) -> Pictures.Image:
    font = ImageFont.load_default(size=11)
    text = _LINE * max((len(cell.caption) for cell in sheet.cells), default=0)
    height = max((_resized(cell).height for cell in sheet.cells), default=0)
    rows = -(-len(sheet.cells) // COLUMNS)
    across, down = WIDTH + _MARGIN, height + text + _MARGIN
    header = _HEADER + _LINE * max(0, len(sheet.facts) - 2)
    page = Pictures.new("RGB", (COLUMNS * across + _MARGIN, header + rows * down), "white")
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN), sheet.title, "black", ImageFont.load_default(size=14))
    for i, fact in enumerate(sheet.facts):
        draw.text((_MARGIN, 26 + _LINE * i), fact, "black", font)
    for i, cell in enumerate(sheet.cells):
        x, y = _MARGIN + across * (i % COLUMNS), header + down * (i // COLUMNS)
        page.paste(_resized(cell), (x, y))
        for j, line in enumerate(cell.caption):
            draw.text((x, y + height + _LINE * j), _fitting(line, font), "black", font)
    return page


def _fitting(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of the end of a line as fits below a picture."""
    while font.getlength(line) > WIDTH:
        line = "…" + line.lstrip("…")[1:]
    return line


def _resized(cell: Cell) -> Pictures.Image:
    if cell.image is None:
        return Pictures.new("RGB", (WIDTH, WIDTH), (_GREY, _GREY, _GREY))
    picture = Pictures.fromarray(cell.image)
    size = (WIDTH, round(WIDTH * picture.height / picture.width))
    return picture.resize(size, Pictures.Resampling.NEAREST)


def _png(image: Image) -> bytes:
    file = io.BytesIO()
    Pictures.fromarray(image).save(file, "PNG", optimize=True)
    return file.getvalue()


def _figure(cell: Cell) -> str:
    caption = "<br>".join(escape(line) for line in cell.caption)
    data = base64.b64encode(_png(np.asarray(_resized(cell)))).decode()
    source = f"data:image/png;base64,{data}"
    alt = escape(", ".join(cell.caption), quote=True)
    return f'<figure><img src="{source}" alt="{alt}"><figcaption>{caption}</figcaption></figure>'


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{0}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 24px; color: #222; background: #fff; }}
main {{ display: flex; flex-wrap: wrap; gap: 16px; }}
figure {{ margin: 0; width: 176px; }} figcaption {{ font-size: 12px; overflow-wrap: anywhere; }}
</style></head>
<body><h1>{0}</h1><ul>{1}</ul><main>
{2}
</main></body></html>
"""
