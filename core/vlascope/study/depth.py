"""Relative depth as a part of hook-point names: a third of a pathway, or the layer at so many %."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from vlascope.errors import UnknownName, unknown_name
from vlascope.hooks import Pathway

__all__ = ["THIRDS", "expand_depth", "layer_at", "layers_of_third"]

THIRDS: Final = ("early", "mid", "late")
_DEPTH = re.compile(
    r"(?P<pathway>[a-z][a-z0-9_]*)\.(?P<third>early|mid|late|\d{1,3}%)\.(?P<site>.+)"
)


def layers_of_third(third: str, n_layers: int) -> range:
    """Layers of a third: cut at the rounded thirds of the depth, so 4 layers split 1, 2, 1."""
    k = THIRDS.index(third)
    return range(round(n_layers * k / 3), round(n_layers * (k + 1) / 3))


def layer_at(share: float, n_layers: int) -> int:
    """The layer that holds a share of the depth, 0 to 1: of 4 layers, 0.5 is layer 2."""
    return min(int(share * n_layers), n_layers - 1)


def expand_depth(patterns: Sequence[str], pathways: Iterable[Pathway]) -> tuple[str, ...]:
    """Replace `expert.early.resid_post` by the layers it stands for; other globs stay.

    `expert.50%.resid_post` is the one layer half way down (`layer_at`).

    Raises:
        UnknownName: no such pathway, it is too shallow to have that third, or it is more than 100%.
    """
    by_name = {p.name: p for p in pathways}
    found: dict[str, None] = {}
    for pattern in patterns:
        match = _DEPTH.fullmatch(pattern)
        if match is None:
            found[pattern] = None
            continue
        if match["pathway"] not in by_name:
            raise unknown_name("pathway", match["pathway"], by_name)
        layers = _layers(pattern, match["third"], by_name[match["pathway"]].n_layers)
        if not layers:
            raise UnknownName(
                f"{pattern!r}: {match['pathway']} has {by_name[match['pathway']].n_layers} "
                f"layers, too few for a {match['third']} third; name the layers instead"
            )
        found.update(
            dict.fromkeys(f"{match['pathway']}.{layer}.{match['site']}" for layer in layers)
        )
    return tuple(found)


def _layers(pattern: str, where: str, n_layers: int) -> range:
    if not where.endswith("%"):
        return layers_of_third(where, n_layers)
    percent = int(where.removesuffix("%"))
    if percent > 100:
        raise UnknownName(f"{pattern!r}: a depth is 0% to 100%")
    layer = layer_at(percent / 100, n_layers)
    return range(layer, layer + 1)
