"""Thirds of a pathway's depth as parts of hook-point names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from vlascope.errors import UnknownName, unknown_name
from vlascope.hooks import Pathway

__all__ = ["THIRDS", "expand_depth", "layers_of_third"]

THIRDS: Final = ("early", "mid", "late")
_DEPTH = re.compile(r"(?P<pathway>[a-z][a-z0-9_]*)\.(?P<third>early|mid|late)\.(?P<site>.+)")


def layers_of_third(third: str, n_layers: int) -> range:
    """Layers of a third: cut at the rounded thirds of the depth, so 4 layers split 1, 2, 1."""
    k = THIRDS.index(third)
    return range(round(n_layers * k / 3), round(n_layers * (k + 1) / 3))


def expand_depth(patterns: Sequence[str], pathways: Iterable[Pathway]) -> tuple[str, ...]:
    """Replace `expert.early.resid_post` by the layers it stands for; other globs stay.

    Raises:
        UnknownName: no such pathway, or it is too shallow to have that third.
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
        layers = layers_of_third(match["third"], by_name[match["pathway"]].n_layers)
        if not layers:
            raise UnknownName(
                f"{pattern!r}: {match['pathway']} has {by_name[match['pathway']].n_layers} "
                f"layers, too few for a {match['third']} third; name the layers instead"
            )
        found.update(
            dict.fromkeys(f"{match['pathway']}.{layer}.{match['site']}" for layer in layers)
        )
    return tuple(found)
