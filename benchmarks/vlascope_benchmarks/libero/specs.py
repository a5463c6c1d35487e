"""What LIBERO's numbers mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from vlascope.errors import unknown_name
from vlascope.specs import ActionSpec, CameraSpec, StateSpec
from vlascope_benchmarks.mujoco_rendering import RenderMode

__all__ = ["CAMERAS", "HZ", "STATE", "Control", "action", "cameras"]

Control = Literal["delta", "absolute"]

HZ = 20.0

CAMERAS: Mapping[str, str] = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}
"""Our names, and MuJoCo's."""

STATE: Mapping[str, StateSpec] = {
    "eef_position": StateSpec(("x", "y", "z"), ("m",) * 3),
    "eef_axis_angle": StateSpec(("rx", "ry", "rz"), ("rad",) * 3),
    "gripper_fingers": StateSpec(("left", "right"), ("m",) * 2),
    "site_columns": StateSpec(("r11", "r21", "r31", "r12", "r22", "r32"), ("1",) * 6),
}
"""`eef_axis_angle` is the hand's orientation; `site_columns` are two columns of the grip site's."""

_REACH, _TURN = 2.0, 3.14159


def action(control: Control) -> ActionSpec:
    """Steps of the gripper, or where it is to be.

    Raises:
        UnknownName: there is no such way of control.
    """
    if control not in get_args(Control):
        raise unknown_name("way of control (option `control`)", control, get_args(Control))
    absolute = control == "absolute"
    span = (*(_REACH,) * 3, *(_TURN,) * 3, 1.0) if absolute else (1.0,) * 7
    return ActionSpec(
        names=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
        control="ee_absolute" if absolute else "ee_delta",
        frame="world",
        rotation="axis_angle",
        gripper="positive_closes",
        low=tuple(-end for end in span),
        high=span,
    )


def cameras(size: int, render: RenderMode) -> Mapping[str, CameraSpec]:
    """Both cameras, square and upright."""
    return {name: CameraSpec(height=size, width=size, render=render) for name in CAMERAS}
