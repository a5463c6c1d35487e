"""Seeds as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

__all__ = ["Seeds", "compact"]

_PART = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")


def _read(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return value
    seeds: list[int] = []
    for part in str(value).split(","):
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(f"{part!r} is no seed; write a list, '0-19', or '0-4,7'")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise ValueError(f"the range {part!r} runs backwards")
        seeds.extend(range(first, last + 1))
    return seeds


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds:
        raise ValueError("give at least one seed")
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed appears twice")
    if min(seeds) < 0:
        raise ValueError("a seed is 0 or more")
    return seeds


Seeds = Annotated[tuple[int, ...], AfterValidator(_distinct), BeforeValidator(_read)]
"""Distinct seeds from a list, a number or text such as `0-19`."""


def compact(seeds: Iterable[int]) -> str:
    """Seeds back as short text: `0-4,7`."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ",".join(f"{a}-{b}" if a < b else f"{a}" for a, b in runs)
