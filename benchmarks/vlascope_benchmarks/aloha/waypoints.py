"""Where the two hands should be when: way-points of both tasks, in metres and control steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vlascope_benchmarks.aloha.scenes import Float64

__all__ = ["PLANNERS", "Path", "WayPoint", "at"]


@dataclass(frozen=True)
class WayPoint:
    """A hand's pose at one control step; position in metres, orientation w-x-y-z, 1 is open."""

    step: int
    position: Float64
    quaternion: Float64
    gripper: float


Path = tuple[WayPoint, ...]

OPEN, CLOSED = 1.0, 0.0


def at(path: Path, step: int) -> Float64:
    """Position, quaternion and gripper at a step, straight between way-points: float64 (8,)."""
    later = next((i for i, point in enumerate(path) if step <= point.step), len(path) - 1)
    one, other = path[max(later - 1, 0)], path[later]
    share = min(1.0, (step - one.step) / max(other.step - one.step, 1))
    pair = [np.r_[p.position, p.quaternion, p.gripper] for p in (one, other)]
    return pair[0] + (pair[1] - pair[0]) * share


def turned(axis: tuple[float, float, float], degrees: float) -> Float64:
    """The w-x-y-z quaternion of a turn about an axis."""
    half = np.deg2rad(degrees) / 2
    return np.r_[np.cos(half), np.sin(half) * np.array(axis)]


def _by(point: Float64, *metres: float) -> Float64:
    """`point`, moved by x, y and z."""
    return point + np.array(metres)


def _transfer_cube(hands: Float64, things: Float64) -> tuple[Path, Path]:
    """The right hand carries the cube to the middle; the left closes before the right opens."""
    meet, cube = np.array([0.0, 0.5, 0.25]), things[0, :3]
    down, sideways, level = turned((0, 1, 0), -60), turned((1, 0, 0), 90), turned((1, 0, 0), 0)
    waits, takes = _by(meet, -0.1, 0, -0.01), _by(meet, 0.02, 0, -0.01)
    left = (
        WayPoint(0, hands[0, :3], level, CLOSED),
        WayPoint(100, waits, sideways, OPEN),
        WayPoint(220, waits, sideways, OPEN),
        WayPoint(260, takes, sideways, OPEN),
        WayPoint(290, takes, sideways, CLOSED),
        WayPoint(330, takes, sideways, CLOSED),
        WayPoint(380, waits, sideways, CLOSED),
    )
    above, around = _by(cube, 0, 0, 0.08), _by(cube, 0, 0, -0.015)
    right = (
        WayPoint(0, hands[1, :3], level, CLOSED),
        WayPoint(90, above, down, OPEN),
        WayPoint(130, around, down, OPEN),
        WayPoint(160, around, down, CLOSED),
        WayPoint(220, meet, down, CLOSED),
        WayPoint(300, meet, down, CLOSED),
        WayPoint(320, meet, down, OPEN),
        WayPoint(360, _by(meet, 0.1, 0, 0), down, OPEN),
    )
    return left, right


def _insertion(hands: Float64, things: Float64) -> tuple[Path, Path]:
    """Each hand lifts what lies on its side; they meet in line and the right one pushes."""
    peg, socket = things[0, :3], things[1, :3]
    level = turned((1, 0, 0), 0)
    meet = np.array([0.0, 0.5, 0.15])

    def hand(start: Float64, thing: Float64, pitch: float, line: Float64, side: float) -> Path:
        down, out = turned((0, 1, 0), pitch), np.array([side, 0.0, 0.0])
        return (
            WayPoint(0, start, level, CLOSED),
            WayPoint(120, _by(thing, 0, 0, 0.08), down, OPEN),
            WayPoint(170, _by(thing, 0, 0, -0.03), down, OPEN),
            WayPoint(220, _by(thing, 0, 0, -0.03), down, CLOSED),
            WayPoint(285, line + 0.1 * out, down, CLOSED),
            WayPoint(340, line + 0.05 * out, down, CLOSED),
            WayPoint(400, line + 0.05 * out, down, CLOSED),
        )

    return (
        hand(hands[0, :3], socket, 60, meet, -1.0),
        hand(hands[1, :3], peg, -60, _by(meet, 0, 0, 0.007), 1.0),
    )


PLANNERS: Mapping[str, Callable[[Float64, Float64], tuple[Path, Path]]] = {
    "transfer_cube": _transfer_cube,
    "insertion": _insertion,
}
"""By the scene's file: the hands' first poses (2, 7) and the things' (n, 7) to (left, right)."""
