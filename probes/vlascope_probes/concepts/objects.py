"""Numbers about objects: which are meant, and one number per moment; metres, metres per step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

import numpy as np

from vlascope_probes.concepts.quantities import QUANTITIES, ahead
from vlascope_probes.concepts.scene import Episode, Floats, Setting

__all__ = ["OBJECT_QUANTITIES", "quantity", "selected"]

_ObjectMaker = Callable[[Episode, Setting, Sequence[str]], Floats | None]


def quantity(
    name: str, episode: Episode, setting: Setting, of: str | Sequence[str] = "things"
) -> Floats | None:
    """One number per moment, (moments,); None where this episode does not offer it.

    Args:
        name: one of `QUANTITIES` or `OBJECT_QUANTITIES`.
        episode: whose.
        setting: how its scene is read.
        of: for numbers about objects: `things`, `places`, `asked` (named in the instruction),
            or globs of names.
    """
    if name in QUANTITIES:
        return QUANTITIES[name](episode, setting)
    chosen = selected(episode, setting, of)
    return OBJECT_QUANTITIES[name](episode, setting, chosen) if chosen else None


def selected(episode: Episode, setting: Setting, of: str | Sequence[str]) -> list[str]:
    """The names of the objects that are meant."""
    places = {n for n in episode.objects if any(fnmatchcase(n, g) for g in setting.places)}
    if of == "things":
        return [n for n in episode.objects if n not in places]
    if of == "places":
        return [n for n in episode.objects if n in places]
    if of == "asked":
        words = set(_words(episode.text))
        return [n for n in episode.objects if words & set(_words(n)) - {"goal", "object"}]
    globs = [of] if isinstance(of, str) else of
    return [n for n in episode.objects if any(fnmatchcase(n, g) for g in globs)]


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def _stack(episode: Episode, names: Sequence[str]) -> Floats:
    """(objects, moments, 3)."""
    return np.stack([episode.objects[n] for n in names])


def _nearest(episode: Episode, names: Sequence[str]) -> Floats | None:
    """The hand's offset from the nearest of these objects, (moments, 3)."""
    if episode.hand is None:
        return None
    offsets = episode.hand - _stack(episode, names)
    far = np.where(np.isnan(offsets).any(2), np.inf, np.linalg.norm(offsets, axis=2))
    nearest = np.argmin(far, axis=0)
    return offsets[nearest, np.arange(episode.moments)]


def _distance(episode: Episode, _: Setting, names: Sequence[str]) -> Floats | None:
    offset = _nearest(episode, names)
    return None if offset is None else np.linalg.norm(offset, axis=1)


def _distance_change(episode: Episode, setting: Setting, names: Sequence[str]) -> Floats | None:
    found = _distance(episode, setting, names)
    return None if found is None else ahead(found)


def _offset(axis: str) -> _ObjectMaker:
    def along(episode: Episode, setting: Setting, names: Sequence[str]) -> Floats | None:
        offset = _nearest(episode, names)
        return None if offset is None else offset @ setting.axis(axis)

    return along


def _sideways(episode: Episode, setting: Setting, names: Sequence[str]) -> Floats | None:
    """The hand's distance from the nearest object, leaving height out."""
    offset = _nearest(episode, names)
    if offset is None:
        return None
    up = setting.axis("up")
    return np.linalg.norm(offset - np.outer(offset @ up, up), axis=1)


def _object_moves(axis: str | None) -> _ObjectMaker:
    """How fast the fastest of these objects moves: its speed, or along an axis."""

    def moves(episode: Episode, setting: Setting, names: Sequence[str]) -> Floats | None:
        changes = np.nan_to_num(np.stack([ahead(episode.objects[n]) for n in names]))
        speed = np.linalg.norm(changes, axis=2)
        fastest = changes[np.argmax(speed, axis=0), np.arange(episode.moments)]
        return speed.max(0) if axis is None else fastest @ setting.axis(axis)

    return moves


def _object_moved(episode: Episode, _: Setting, names: Sequence[str]) -> Floats | None:
    tracks = _stack(episode, names)
    return np.nan_to_num(np.linalg.norm(tracks - tracks[:, :1], axis=2)).max(0)


def _object_height(episode: Episode, setting: Setting, names: Sequence[str]) -> Floats | None:
    tracks = _stack(episode, names)
    return np.nan_to_num((tracks - tracks[:, :1]) @ setting.axis("up")).max(0)


def _to_place(episode: Episode, setting: Setting, names: Sequence[str]) -> Floats | None:
    """From the nearest of these objects to the nearest place."""
    places = selected(episode, setting, "places")
    if not places:
        return None
    gaps = _stack(episode, names)[:, None] - _stack(episode, places)[None]
    far = np.linalg.norm(gaps, axis=3).reshape(-1, episode.moments)
    return np.where(np.isnan(far), np.inf, far).min(0)


def _to_place_change(episode: Episode, setting: Setting, names: Sequence[str]) -> Floats | None:
    found = _to_place(episode, setting, names)
    return None if found is None else ahead(found)


OBJECT_QUANTITIES: Final[Mapping[str, _ObjectMaker]] = {
    "distance": _distance,
    "distance_change": _distance_change,
    "sideways": _sideways,
    "offset_right": _offset("right"),
    "offset_forward": _offset("forward"),
    "offset_up": _offset("up"),
    "object_speed": _object_moves(None),
    "object_speed_right": _object_moves("right"),
    "object_speed_forward": _object_moves("forward"),
    "object_speed_up": _object_moves("up"),
    "object_moved": _object_moved,
    "object_height": _object_height,
    "to_place": _to_place,
    "to_place_change": _to_place_change,
}
"""Numbers about objects; `of` says which."""
