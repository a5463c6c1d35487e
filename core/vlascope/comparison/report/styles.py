"""Colours and symbols of entries: told apart without colour too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["CONTROL_SYMBOLS", "GREY", "OKABE_ITO", "Look", "looks"]

OKABE_ITO: Final = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F",
)  # fmt: skip
"""Okabe and Ito's colours without black, which is for what was pooled, and yellow, with a grey."""

_SYMBOLS: Final = (
    ("circle", "o"), ("square", "s"), ("diamond", "D"), ("triangle-up", "^"),
    ("triangle-down", "v"), ("pentagon", "p"), ("hexagon", "h"), ("star", "*"),
    ("triangle-left", "<"), ("triangle-right", ">"), ("cross", "P"), ("x", "X"),
)  # fmt: skip
CONTROL_SYMBOLS: Final = (
    ("circle-open", "o"), ("square-open", "s"), ("diamond-open", "D"), ("triangle-up-open", "^"),
    ("x-thin-open", "x"), ("cross-thin-open", "+"),
)  # fmt: skip
"""Of controls, in plotly's and matplotlib's words."""
GREY: Final = "#8a8f98"
"""Of controls."""
_DASHES: Final = (("solid", "-"), ("dash", "--"), ("dot", ":"), ("dashdot", "-."))


@dataclass(frozen=True)
class Look:
    """How an entry is drawn.

    Attributes:
        symbol, dash: in plotly's words; `marker`, `line` in matplotlib's.
        open: whether the symbol is hollow, for a family's second member and later ones.
    """

    colour: str
    symbol: str
    marker: str
    dash: str
    line: str
    open: bool


def looks(families: Mapping[str, str]) -> dict[str, Look]:
    """A look per entry: a family shares colour and symbol, its members differ by fill and dash.

    Args:
        families: the family of each entry, in the order they are drawn.
    """
    order = list(dict.fromkeys(families.values()))
    found: dict[str, Look] = {}
    for entry, family in families.items():
        index = order.index(family)
        before = sum(families[other] == family for other in found)
        (symbol, marker), (dash, line) = _SYMBOLS[index % 12], _DASHES[min(before, 3)]
        found[entry] = Look(
            colour=OKABE_ITO[index % 7],
            symbol=f"{symbol}-open" if before else symbol,
            marker=marker,
            dash=dash,
            line=line,
            open=before > 0,
        )
    return found
