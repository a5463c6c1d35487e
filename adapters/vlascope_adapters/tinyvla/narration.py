"""What the language backbone says of the motion that comes: words, and which of them are true."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NARRATION", "narrate"]

NARRATION = (
    "fast",
    "slow",
    "right",
    "left",
    "forward",
    "back",
    "up",
    "down",
    "close",
    "open",
)
"""Speed, then directions of the hand in the world frame (+x, -x, +y, -y, +z, -z), then gripper."""

_FAST, _SLOW, _STILL = 0.8, 0.4, 0.08
_GRIPPER = 0.5


def narrate(actions: Tensor, valid: Tensor) -> Tensor:
    """Which words of `NARRATION` describe each chunk of actions.

    A chunk's speed is the largest of |x|, |y|, |z|, averaged over its steps: above 0.8 of the
    fastest is fast, from 0.08 to 0.4 slow. A direction is said when the mean action has at least
    half its largest component that way.

    Args:
        actions: float (chunks, horizon, 4) in -1..1: x, y, z and the gripper.
        valid: float (chunks, horizon), 0 past the end of a demonstration.

    Returns:
        bool (chunks, 10).
    """
    count = valid.sum(1, keepdim=True).clamp(min=1)
    speed = (actions[..., :3].abs().amax(-1) * valid).sum(1, keepdim=True) / count
    mean = (actions * valid[..., None]).sum(1) / count
    moving = speed > _STILL
    way = torch.stack([mean[:, :3], -mean[:, :3]], -1).flatten(1)
    leading = (way > _STILL) & (way >= 0.5 * way.amax(1, keepdim=True))
    grip = torch.cat([mean[:, 3:] > _GRIPPER, mean[:, 3:] < -_GRIPPER], 1)
    return torch.cat([speed > _FAST, moving & (speed <= _SLOW), leading & moving, grip], 1)
