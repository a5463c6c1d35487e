"""From the benchmark's actions to the numbers that ManiSkill's WidowX controller takes."""

from __future__ import annotations

from math import pi

import numpy as np
from scipy.spatial.transform import Rotation

from vlascope.specs import ActionSpec, StateSpec
from vlascope.types import FloatArray

__all__ = ["ACTION", "STATE", "opening", "to_controller"]

ACTION = ActionSpec(
    names=("x", "y", "z", "rx", "ry", "rz", "gripper"),
    control="ee_delta",
    frame="base",
    rotation="axis_angle",
    gripper="positive_opens",
    low=(-1.0, -1.0, -1.0, -pi / 2, -pi / 2, -pi / 2, -1.0),
    high=(1.0, 1.0, 1.0, pi / 2, pi / 2, pi / 2, 1.0),
)
"""SimplerEnv's action: metres, radians, and 1 for an open and -1 for a closed gripper."""

_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
STATE = {
    "eef_position": StateSpec(("x", "y", "z"), ("m", "m", "m")),
    "eef_quaternion": StateSpec(("w", "x", "y", "z"), ("1", "1", "1", "1")),
    "joints": StateSpec(_JOINTS, ("rad",) * 6),
    "gripper": StateSpec(("opening",), ("1",)),
}
"""Pose of `ee_gripper_link` in the robot's base frame, the arm's joints, the fingers."""

_FINGER_RANGE = (0.015, 0.037)
"""Metres from the middle to a finger, closed and open."""


def to_controller(action: FloatArray) -> FloatArray:
    """What the controller takes for one action, float32 (7,), clipped to `ACTION`'s range.

    The controller reads its rotation as three Euler angles about the base's axes (R = Rx Ry Rz),
    where SimplerEnv's own controller read a rotation vector. The two agree to first order only, so
    the vector is turned into angles of the same rotation.

    Raises:
        ValueError: the action has another shape or is not finite.
    """
    given = np.asarray(action, dtype=np.float64)
    if given.shape != (ACTION.dim,) or not np.isfinite(given).all():
        raise ValueError(f"an action is seven finite numbers {ACTION.names}; got {action!r}")
    fit = np.clip(given, ACTION.low, ACTION.high)
    angles = Rotation.from_rotvec(fit[3:6]).as_euler("XYZ")
    return np.concatenate([fit[:3], angles, fit[6:]]).astype(np.float32)


def opening(fingers: FloatArray) -> FloatArray:
    """How far the gripper is open, 0 to 1, from both fingers' distances (m): float32 (1,)."""
    closed, opened = _FINGER_RANGE
    share = (float(np.mean(fingers)) - closed) / (opened - closed)
    return np.array([min(max(share, 0.0), 1.0)], dtype=np.float32)
