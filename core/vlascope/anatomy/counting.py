"""How many parameters a pathway has, told by the modules that its taps name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import nn

from vlascope.hooks import HookPoint
from vlascope.taps import Tap

__all__ = ["ParameterCount", "ParameterShares", "count_parameters"]


@dataclass(frozen=True)
class ParameterCount:
    """Parameters, and the modules (or parameters of their own) that hold them.

    Attributes:
        number: of scalars; a parameter that has two names is counted once.
        modules: dotted paths inside the model; an empty path is the whole model.
    """

    number: int
    modules: tuple[str, ...]


@dataclass(frozen=True)
class ParameterShares:
    """Who holds a model's parameters.

    Attributes:
        total: of the whole model, shared parameters once.
        pathways: by pathway, where its taps name modules. A pathway's are the largest modules
            that hold hook points of it and of no other pathway.
        elsewhere: the rest: no hook point lies there, or those of several pathways.
    """

    total: int
    pathways: Mapping[str, ParameterCount]
    elsewhere: ParameterCount


def count_parameters(model: nn.Module, taps: Mapping[HookPoint, Tap]) -> ParameterShares:
    """Share a model's parameters out among the pathways."""
    modules = dict(model.named_modules(remove_duplicate=False))
    owners: dict[str, set[str]] = {}
    for point, tap in taps.items():
        for name in _named(tap, modules):
            for path in _upwards(name):
                owners.setdefault(path, set()).add(point.pathway)
    pathways = list(dict.fromkeys(point.pathway for point in taps))
    shares = _shared_out("", model, owners)
    held = {owner: [s for s in shares if s[0] == owner] for owner in (*pathways, None)}
    seen: set[int] = set()
    counts = {owner: _count(parts, seen) for owner, parts in held.items()}
    return ParameterShares(
        total=sum(count.number for count in counts.values()),
        pathways={name: counts[name] for name in pathways if counts[name].modules},
        elsewhere=counts[None],
    )


_Share = tuple[str | None, str, Sequence[nn.Parameter]]


def _shared_out(path: str, module: nn.Module, owners: Mapping[str, set[str]]) -> list[_Share]:
    """(pathway or None, path, parameters): a module that several own is split into its parts."""
    mine, dot = owners.get(path, set()), f"{path}." if path else ""
    within = any(f"{dot}{name}" in owners for name, _ in module.named_children())
    if len(mine) < 2 or not within:
        owner = next(iter(mine)) if len(mine) == 1 else None
        return [(owner, path, list(module.parameters()))]
    parts: list[_Share] = [(None, f"{dot}{n}", [p]) for n, p in module.named_parameters("", False)]
    for name, child in module.named_children():
        parts.extend(_shared_out(f"{dot}{name}", child, owners))
    return parts


def _count(shares: Iterable[_Share], seen: set[int]) -> ParameterCount:
    number, modules = 0, []
    for owner, path, parameters in shares:
        new = {id(p): p.numel() for p in parameters if id(p) not in seen}
        seen.update(new)
        number += sum(new.values())
        if owner is not None or new:
            modules.append(path)
    return ParameterCount(number, tuple(modules))


def _named(tap: Any, modules: Mapping[str, nn.Module]) -> Iterator[str]:
    """The modules that a tap names in its fields, or in those of a tap inside it."""
    if not is_dataclass(tap):
        return
    for field in fields(tap):
        if field.name == "argument":  # the keyword of an input
            continue
        value = getattr(tap, field.name)
        for one in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(one, str):
                yield from (one,) if one in modules else ()
            else:
                yield from _named(one, modules)


def _upwards(path: str) -> Iterator[str]:
    """The path and everything that holds it, up to the model itself."""
    parts = path.split(".") if path else []
    for length in range(len(parts), -1, -1):
        yield ".".join(parts[:length])
