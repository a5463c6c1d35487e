"""Film strips with a curve below them, and videos side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from vlascope.hand import HAND_UNITS
from vlascope.replay.montage import side_by_side
from vlascope.rollout.film import encode_mp4
from vlascope.store.durable import write_atomically
from vlascope.types import Image

if TYPE_CHECKING:
    from vlascope.steering_demo import Take

__all__ = ["write_strip", "write_video"]

Floats = npt.NDArray[np.float64]

_TILE, _LABEL, _PLOT, _MARGIN = 176, 24, 220, 60
_COLOURS: Final[Mapping[str, str]] = {"before": "#555555", "after": "#d62728", "random": "#1f77b4"}


def write_strip(
    path: Path, takes: Mapping[str, Take], quantity: str, hz: float, target: float | None
) -> None:
    """A row of pictures per episode, and the quantity over time below."""
    from vlascope.steering_demo import ARMS

    columns = max((len(t.strip.images) for t in takes.values() if t.strip), default=1)
    width = max(columns * _TILE, 3 * _TILE)
    page = Pictures.new("RGB", (width, len(takes) * (_LABEL + _TILE) + _PLOT), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for row, (arm, take) in enumerate(takes.items()):
        top = row * (_LABEL + _TILE)
        draw.text((6, top + 4), f"{ARMS[arm]}: {_outcome(take)}", _COLOURS[arm], font)
        if take.strip is None:
            continue
        for column, (image, step) in enumerate(
            zip(take.strip.images, take.strip.steps, strict=True)
        ):
            tile = Pictures.fromarray(image).resize((_TILE - 4, _TILE - 4))
            page.paste(tile, (column * _TILE + 2, top + _LABEL))
            note = f"{step / hz:.1f} s"
            draw.text(
                (column * _TILE + 8, top + _LABEL + 4),
                note,
                "white",
                font,
                stroke_width=2,
                stroke_fill="black",
            )
    _curves(draw, font, takes, quantity, hz, target, page.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)


def write_video(path: Path, run_dir: Path, takes: Mapping[str, Take]) -> None:
    """The episodes' videos side by side; a shorter one rests on its last picture."""
    from vlascope.steering_demo import ARMS

    clips, rate = {}, 20.0
    for arm, take in takes.items():
        if take.record.video is not None:
            clips[ARMS[arm]], rate = _decoded(run_dir / take.record.video)
    if clips:
        write_atomically(path, encode_mp4(side_by_side(clips), rate))


def _decoded(path: Path) -> tuple[list[Image], float]:
    import av

    container = av.open(str(path))
    try:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 20)
        frames = [
            np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in container.decode(stream)
        ]
    finally:
        container.close()
    return frames, rate


def _outcome(take: Take) -> str:
    shown = take.shown
    end = f"succeeds at step {take.record.success_step}" if shown.success else "does not succeed"
    speed = f", speed {shown.speed:.3f} m/s" if shown.speed is not None else ""
    height = f", height {shown.height:.3f} m" if shown.height is not None else ""
    ratio = f", |dx|/|x| {shown.dx_ratio:.2f}" if shown.dx_ratio is not None else ""
    return end + speed + height + ratio


def _curves(
    draw: ImageDraw.ImageDraw,
    font: Any,
    takes: Mapping[str, Take],
    quantity: str,
    hz: float,
    target: float | None,
    size: tuple[int, int],
) -> None:
    """Lines over time in the lowest part of the page."""
    known = {arm: _smooth(t.series, hz) for arm, t in takes.items() if t.series is not None}
    if not known:
        return
    left, right, bottom, top = _MARGIN, size[0] - 12, size[1] - 28, size[1] - _PLOT + 24
    steps = max(len(s) for s in known.values())
    values = np.concatenate([*known.values(), [] if target is None else [target]])
    low, high = min(0.0, float(values.min())), float(values.max()) * 1.05 + 1e-9

    def place(step: float, value: float) -> tuple[float, float]:
        across = left + (right - left) * step / max(1, steps)
        return across, bottom - (bottom - top) * (value - low) / (high - low)

    draw.rectangle((left, top, right, bottom), outline="#bbbbbb")
    draw.text(
        (left, top - 20), f"hand {quantity} ({HAND_UNITS[quantity]}) over time (s)", "black", font
    )
    for value in np.linspace(low, high, 4):
        draw.text((4, place(0, value)[1] - 8), f"{value:.3g}", "black", font)
    for second in np.linspace(0, steps, 5):
        draw.text((place(second, low)[0] - 10, bottom + 6), f"{second / hz:.1f}", "black", font)
    if target is not None:
        draw.line((place(0, target), place(steps, target)), "#2ca02c", 1)
        draw.text((right - 70, place(0, target)[1] - 16), "set point", "#2ca02c", font)
    for arm, series in known.items():
        points: Sequence[tuple[float, float]] = [place(i + 1, v) for i, v in enumerate(series)]
        draw.line(list(points), _COLOURS[arm], 2)


def _smooth(series: Floats, hz: float) -> Floats:
    """A running mean over a tenth of a second."""
    n = max(1, round(hz / 10))
    padded = np.concatenate([np.repeat(series[:1], n - 1), series])
    return np.asarray(np.convolve(padded, np.ones(n) / n, mode="valid"), np.float64)
