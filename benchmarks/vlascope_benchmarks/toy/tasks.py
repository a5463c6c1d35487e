"""The toy world's tasks, and where their goals lie."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vlascope.benchmark import Task

__all__ = ["CELLS", "COLOURS", "GOAL_PIXELS", "PIXEL", "PIXELS", "Layout", "layout", "suites"]

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
}
"""Goal colours; everything else in the picture is grey."""

PIXELS = 16
"""Height and width of the picture; it shows [-1, 1] x [-1, 1] metres."""
PIXEL = 2.0 / PIXELS
"""Metres per pixel."""
GOAL_PIXELS = 2
"""Side of a goal's square in pixels."""
CELLS = 4
"""Goals lie within one cell each of a 4 x 4 grid, jittered, never across a border."""

_SYNONYMS = {"red": "crimson", "green": "lime", "blue": "navy"}
Layout = tuple[dict[str, npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""Goal positions by colour and the point's start, each (2,) in metres."""


def suites() -> dict[str, tuple[Task, ...]]:
    """`unique`: one goal in sight. `shared`: three goals, and the prompt decides which."""
    unique = tuple(_task("unique", colour, f"unique/{colour}") for colour in COLOURS)
    shared = tuple(_task("shared", colour, "shared") for colour in COLOURS)
    return {"unique": unique, "shared": shared}


def layout(scene: str, seed: int) -> Layout:
    """Where everything is at the start: decided by the scene and the seed, not by the task.

    Goals are at least 0.5 m apart, the start at least 0.4 m from each, and the middle of three
    goals is at least 0.35 m from each (so that heading for all of them at once reaches none).
    """
    colours = list(COLOURS) if scene == "shared" else [scene.removeprefix("unique/")]
    rng = np.random.default_rng([seed, zlib.crc32(scene.encode())])
    while True:
        goals = _goals(rng, len(colours))
        start = rng.uniform(-0.9, 0.9, 2)
        if _apart(goals, start):
            return dict(zip(colours, goals, strict=True)), start


def _task(kind: str, colour: str, scene: str) -> Task:
    return Task(
        name=f"{kind}/{colour}",
        instruction=f"go to the {colour} point",
        paraphrases=(f"move to the {colour} point", f"reach the {_SYNONYMS[colour]} point"),
        scene=scene,
        tags=(f"{kind}_scene",),
        verb="go to",
        object=f"the {colour} point",
        motor="go",
    )


def _goals(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """(count, 2): centres of distinct cells plus a jitter that keeps the square inside its cell."""
    cell = 2.0 / CELLS
    free = (cell / PIXEL - GOAL_PIXELS) / 2 * PIXEL * 0.9
    cells = rng.choice(CELLS * CELLS, size=count, replace=False)
    centres = -1 + cell / 2 + cell * np.stack([cells % CELLS, cells // CELLS], axis=1)
    return centres + rng.uniform(-free, free, (count, 2))


def _apart(goals: npt.NDArray[np.float64], start: npt.NDArray[np.float64]) -> bool:
    gaps = np.linalg.norm(goals[:, None] - goals[None], axis=-1) + 9 * np.eye(len(goals))
    middle = np.linalg.norm(goals - goals.mean(axis=0), axis=-1).min()
    from_start = np.linalg.norm(goals - start, axis=-1).min()
    return bool(gaps.min() > 0.5 and from_start > 0.4 and (len(goals) == 1 or middle > 0.35))
