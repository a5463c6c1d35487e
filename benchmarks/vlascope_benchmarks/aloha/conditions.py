"""Who touches what: conditions of the two scenes, read off the contacts of this moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["GROUPS", "Touching", "insertion", "transfer_cube"]

Touching = Callable[[str, str], bool]
"""Whether any geom of the first group of `GROUPS` touches any of the second, by their names."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "table": ("table",),
    "left": ("vx300s_left/10_left_gripper_finger", "vx300s_left/10_right_gripper_finger"),
    "right": ("vx300s_right/10_left_gripper_finger", "vx300s_right/10_right_gripper_finger"),
    "left_judged": ("vx300s_left/10_left_gripper_finger",),
    "right_judged": ("vx300s_right/10_right_gripper_finger",),
    "cube": ("red_box",),
    "peg": ("red_peg",),
    "socket": ("socket-1", "socket-2", "socket-3", "socket-4"),
    "pin": ("pin",),
}
"""Geoms by what people call them; the package judges each gripper by one finger alone."""


def transfer_cube(touching: Touching) -> tuple[int, Mapping[str, bool]]:
    """gym-aloha's reward, 0 to 4 (success), and the conditions of the cube."""
    left, right = touching("cube", "left"), touching("cube", "right")
    on_table = touching("cube", "table")
    judged_left, judged_right = touching("cube", "left_judged"), touching("cube", "right_judged")
    reward = int(judged_right) * (1 if on_table else 2)
    if judged_left:
        reward = 3 if on_table else 4
    return reward, {
        "transfer-cube": reward == 4,
        "right_gripper_touches_cube": right,
        "left_gripper_touches_cube": left,
        "cube_on_table": on_table,
        "cube_lifted": (left or right) and not on_table,
        "cube_handed_over": left and not right and not on_table,
    }


def insertion(touching: Touching) -> tuple[int, Mapping[str, bool]]:
    """gym-aloha's reward, 0 to 4 (success), and the conditions of peg and socket."""
    peg, socket = touching("peg", "right"), touching("socket", "left")
    peg_down, socket_down = touching("peg", "table"), touching("socket", "table")
    meeting = touching("peg", "socket")
    in_the_air = not peg_down and not socket_down
    reward = 0
    if touching("socket", "left_judged") and touching("peg", "right_judged"):
        reward = 2 if in_the_air else 1
    if meeting and in_the_air:
        reward = 3
    if touching("peg", "pin"):
        reward = 4
    return reward, {
        "insertion": reward == 4,
        "right_gripper_touches_peg": peg,
        "left_gripper_touches_socket": socket,
        "peg_on_table": peg_down,
        "socket_on_table": socket_down,
        "peg_lifted": peg and not peg_down,
        "socket_lifted": socket and not socket_down,
        "peg_touches_socket": meeting,
    }
