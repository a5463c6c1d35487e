"""Where an injection went in, said without a network's own layer numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlascope.study.depth import THIRDS
from vlascope.study.quantity import Depth

if TYPE_CHECKING:
    from vlascope.recipes.injection import Injection

__all__ = ["Spot", "spots"]


@dataclass(frozen=True)
class Spot:
    """A place that any policy with such a pathway has.

    Attributes:
        pathway, depth, site: as in a quantity.
        part: of the episode (`first_half`); empty for all of it.
        at: relative depth of a single layer; None for several.
    """

    pathway: str
    depth: Depth
    site: str
    part: str = ""
    at: float | None = None


def spots(recipe: Injection) -> dict[str, Spot]:
    """By an arm's label: whole pathways, thirds, other sites and windows.

    Layers count where they are named by relative depth (`vlm.50%`). Layers by number, token spans
    and subspaces of one hook point are not alike between policies.
    """
    found: dict[str, Spot] = {}
    for pathway in recipe.pathways:
        found[pathway] = Spot(pathway, "", recipe.site)
        for depth in THIRDS:
            if depth in recipe.depths:
                found[f"{pathway} {depth}"] = Spot(pathway, depth, recipe.site)
        found |= {f"{pathway} {site}": Spot(pathway, "", site) for site in recipe.sites}
        for layer in recipe.layers:
            if match := re.fullmatch(rf"{pathway}\.(\d+)%", layer):
                found[layer] = Spot(pathway, "", recipe.site, at=int(match[1]) / 100)
        found |= {f"{pathway} {w}": Spot(pathway, "", recipe.site, w) for w in recipe.windows}
    return found
