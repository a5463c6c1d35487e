"""Versions of the packages that could change an episode's outcome."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version

__all__ = ["benchmark_versions", "own_versions"]


def own_versions() -> dict[str, str]:
    """Of vlascope and what the policy computes with."""
    import numpy as np
    import torch

    from vlascope import __version__

    return {"vlascope": __version__, "torch": str(torch.__version__), "numpy": np.__version__}


def benchmark_versions(benchmark: type) -> dict[str, str]:
    """Of the benchmark's own distribution and those of its requirements that it imported."""
    owners = _owners()
    home = owners.get(benchmark.__module__.partition(".")[0], [])
    loaded = {d for module in set(sys.modules) & set(owners) for d in owners[module]}
    wanted = {*home, *(d for d in loaded if _normal(d) in _requirements(home))}
    found = {}
    for name in sorted(wanted):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def _owners() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _requirements(distributions: list[str]) -> set[str]:
    lines = [line for name in distributions for line in requires(name) or ()]
    return {_normal(m[0]) for line in lines if (m := re.match(r"[A-Za-z0-9._-]+", line))}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
