"""When a thing counts as put on another: SimplerEnv's rule, as arithmetic on poses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vlascope.types import Pose

__all__ = ["Placement", "half_extent", "placement"]

Float64 = npt.NDArray[np.float64]

_MARGIN = 0.003
"""Metres that the centre may be outside of the target's half diagonal."""


class Placement(NamedTuple):
    """Whether the source is over the target seen from above, and whether its height fits."""

    over: bool
    at_height: bool

    @property
    def on(self) -> bool:
        """Both."""
        return self.over and self.at_height


def half_extent(size: Float64, start: Pose) -> Float64:
    """Half of a box's edges (m) turned into the world as the box lay at the start.

    The rule turns the vector of the edges, not the box, so a component may be negative or
    shorter than the real half extent. It is kept, because published scores follow it.
    """
    w, x, y, z = start.quaternion
    turned: Float64 = Rotation.from_quat([x, y, z, w]).apply(np.asarray(size, np.float64)) / 2
    return turned


def placement(
    source: Float64, target: Float64, source_half: Float64, target_half: Float64, slack: float
) -> Placement:
    """Judge two positions (m, world) and half extents (m), both (3,); `slack` is in metres.

    Seen from above, the centres are no farther apart than the target's half diagonal and 3 mm.
    The source's centre is higher than the target's, by at most both half heights and `slack`.
    """
    offset = np.asarray(source, np.float64) - np.asarray(target, np.float64)
    over = np.linalg.norm(offset[:2]) <= np.linalg.norm(target_half[:2]) + _MARGIN
    gap = offset[2] - target_half[2] - source_half[2]
    return Placement(bool(over), bool(offset[2] > 0 and gap <= slack))
