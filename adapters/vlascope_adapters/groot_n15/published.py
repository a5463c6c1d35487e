"""The published size: what nvidia/GR00T-N1.5-3B is made of, and where that is known from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import torch

from vlascope_adapters.groot_n15.network import GR00TN15

__all__ = ["at_real_size", "published", "published_shapes"]

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)(?:\.\.(\d+))?\}")


def published() -> dict[str, Any]:
    """`published.json`: configs, tensors, counts, and the source of each."""
    text = (files("vlascope_adapters.groot_n15") / "published.json").read_text(encoding="utf-8")
    return json.loads(text)


def published_shapes() -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of the published checkpoint, by name."""
    table = published()
    return {
        name: tuple(shape)
        for part in ("tensors", "derived")
        for pattern, shape in table[part].items()
        for name in _names(pattern)
    }


def at_real_size() -> GR00TN15:
    """The network at its published size on the meta device: shapes without memory."""
    table = published()
    with torch.device("meta"):
        return GR00TN15(table["config"], table["eagle_config"])


def _names(pattern: str) -> Iterator[str]:
    """`layers.{0..2}.weight` spelt out."""
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last, step = (int(number or 1) for number in found.groups())
    for number in range(first, last + 1, step):
        yield f"{pattern[: found.start()]}{number}{pattern[found.end() :]}"
