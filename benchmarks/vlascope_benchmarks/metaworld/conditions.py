"""Is the door open? Conditions of the articulated scenes, read off one joint each.

MetaWorld judges only the task it plays. Where several tasks share a scene, these say what happened
to the thing whichever task was asked for. The bounds lie where the package's own success begins
when its scripted expert plays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

__all__ = ["conditions_of"]


@dataclass(frozen=True)
class _Jointed:
    """The body that moves, and the joint ranges (m or rad) that have a name."""

    body: str
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


_HANDLE = _Jointed("handle_link", {"handle_down": (-inf, -0.078), "handle_up": (-0.044, inf)})
_BY_SCENE: Mapping[str, _Jointed] = {
    "coffee": _Jointed("cmbutton", {"button_pressed": (0.016, inf)}),
    "door": _Jointed("door_link", {"door_open": (-inf, -1.39), "door_closed": (-0.18, inf)}),
    "door-lock": _Jointed("lock_link", {"door_locked": (1.2, inf), "door_unlocked": (-inf, 0.37)}),
    "drawer": _Jointed(
        "drawer_link", {"drawer_open": (-inf, -0.145), "drawer_closed": (-0.03, inf)}
    ),
    "faucet": _Jointed("faucet_link2", {"faucet_open": (1.4, inf), "faucet_closed": (-inf, -1.3)}),
    "handle": _HANDLE,
    "handle-side": _HANDLE,
    "window": _Jointed("windowb_a", {"window_open": (0.19, inf), "window_closed": (-inf, 0.04)}),
}


def conditions_of(scene: str, model: Any, data: Any) -> Mapping[str, bool]:
    """The named conditions of `scene` as they hold now; empty where nothing is jointed."""
    thing = _BY_SCENE.get(scene)
    if thing is None:
        return {}
    joint = model.body_jntadr[model.body(thing.body).id]
    at = float(data.qpos[model.jnt_qposadr[joint]])
    return {name: low <= at <= high for name, (low, high) in thing.ranges.items()}
