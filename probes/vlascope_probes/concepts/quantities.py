"""Numbers about the hand, the gripper and the time: one per moment.

Index t is what the policy decides on at environment step t, so a change is what happens over the
*next* few steps. Metres, steps, and metres per step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Final

import numpy as np

from vlascope_probes.concepts.scene import Episode, Floats, Setting

__all__ = ["LOOKAHEAD", "QUANTITIES", "ahead"]

LOOKAHEAD: Final = 4
"""Steps over which a change is averaged."""

_Maker = Callable[[Episode, Setting], Floats | None]


def ahead(track: Floats) -> Floats:
    """The mean change per step over the next `LOOKAHEAD` steps; 0 at the end."""
    last = len(track) - 1
    then = np.minimum(np.arange(last + 1) + LOOKAHEAD, last)
    span = np.maximum(then - np.arange(last + 1), 1)
    moved = track[then] - track
    return moved / (span[:, None] if track.ndim == 2 else span)


def _hand_moves(axis: str) -> _Maker:
    def along(episode: Episode, setting: Setting) -> Floats | None:
        return None if episode.hand is None else ahead(episode.hand) @ setting.axis(axis)

    return along


def _hand_place(axis: str) -> _Maker:
    def from_start(episode: Episode, setting: Setting) -> Floats | None:
        if episode.hand is None:
            return None
        return (episode.hand - episode.hand[0]) @ setting.axis(axis)

    return from_start


def _speed(episode: Episode, _: Setting) -> Floats | None:
    return None if episode.hand is None else np.linalg.norm(ahead(episode.hand), axis=1)


def _speed_change(episode: Episode, setting: Setting) -> Floats | None:
    found = _speed(episode, setting)
    return None if found is None else ahead(found)


def _bend(episode: Episode, _: Setting) -> Floats | None:
    """Degrees between where the hand came from and where it goes; 0 where it stands."""
    if episode.hand is None:
        return None
    after = ahead(episode.hand)
    before = -ahead(episode.hand[::-1])[::-1]
    norm = np.linalg.norm(after, axis=1) * np.linalg.norm(before, axis=1)
    cosine = np.where(norm > 1e-12, (after * before).sum(1) / np.maximum(norm, 1e-12), 1.0)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _from_start(episode: Episode, _: Setting) -> Floats | None:
    hand = episode.hand
    return None if hand is None else np.linalg.norm(hand - hand[0], axis=1)


def _gripper(episode: Episode, setting: Setting) -> Floats | None:
    """The opening, 0 at the run's smallest and 1 at its largest."""
    names = [n for n in episode.state if any(fnmatchcase(n, g) for g in setting.gripper)]
    low, high = episode.ranges.get(names[0], (0.0, 0.0)) if names else (0.0, 0.0)
    if high <= low:
        return None
    return np.clip((episode.state[names[0]] - low) / (high - low), 0, 1)


def _gripper_change(episode: Episode, setting: Setting) -> Floats | None:
    found = _gripper(episode, setting)
    return None if found is None else ahead(found)


def _action_size(episode: Episode, _: Setting) -> Floats | None:
    if episode.actions is None or not len(episode.actions):
        return None
    size = np.linalg.norm(episode.actions, axis=1)
    return np.append(size, size[-1])


def _time(episode: Episode, _: Setting) -> Floats:
    return np.arange(episode.moments, dtype=np.float64)


def _phase(episode: Episode, _: Setting) -> Floats:
    return np.arange(episode.moments) / max(episode.moments - 1, 1)


def _to_success(episode: Episode, _: Setting) -> Floats:
    """Steps until the first success; NaN after it, and in an episode without any."""
    if episode.success_step is None:
        return np.full(episode.moments, np.nan)
    left = episode.success_step - np.arange(episode.moments, dtype=np.float64)
    return np.where(left >= 0, left, np.nan)


QUANTITIES: Final[Mapping[str, _Maker]] = {
    "speed": _speed,
    "speed_right": _hand_moves("right"),
    "speed_forward": _hand_moves("forward"),
    "speed_up": _hand_moves("up"),
    "speed_change": _speed_change,
    "bend": _bend,
    "height": _hand_place("up"),
    "hand_right": _hand_place("right"),
    "hand_forward": _hand_place("forward"),
    "from_start": _from_start,
    "gripper": _gripper,
    "gripper_change": _gripper_change,
    "action_size": _action_size,
    "time": _time,
    "phase": _phase,
    "steps_to_success": _to_success,
}
"""Numbers about the hand, the gripper and the time."""
