"""Words that the page, the tables and the figures share."""

from __future__ import annotations

import re

from vlascope.study.quantity import Quantity

__all__ = ["axis_of", "capital", "file_name"]

_UNITS = {"m": "cm", "share": "share", "1": ""}


def capital(text: str) -> str:
    """The first letter large."""
    return text[:1].upper() + text[1:]


def axis_of(quantity: Quantity) -> str:
    """What an axis is headed with: `difference (cm)`, `share`."""
    unit = _UNITS.get(quantity.unit, quantity.unit)
    if not quantity.signed:
        return unit or "value"
    kind = "share" if quantity.unit == "share" else unit
    return f"difference ({kind})" if kind else "difference"


def file_name(*parts: str) -> str:
    """A file's name: lower case, digits and `_`."""
    return "_".join(
        clean for part in parts if (clean := re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_"))
    )
