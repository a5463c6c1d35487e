"""Versions of the packages that could change an episode's outcome."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, entry_points, version

from vlascope import plugins
from vlascope.hookspecs import PROJECT

__all__ = ["benchmark_versions", "own_versions"]


def own_versions() -> dict[str, str]:
    """Of vlascope and what the policy computes with."""
    import numpy as np
    import torch

    from vlascope import __version__

    return {"vlascope": __version__, "torch": str(torch.__version__), "numpy": np.__version__}


def benchmark_versions(benchmark: str) -> dict[str, str]:
    """Of the plugin that provides a benchmark and of the simulators it requires.

    Those are its requirements under an extra of the benchmark's name and, unless vlascope itself
    provides the benchmark, its unconditional ones.
    """
    plugin = plugins.benchmarks()[benchmark].plugin
    found: dict[str, str] = {}
    for entry in entry_points(group=PROJECT, name=plugin):
        if entry.dist is not None:
            found[entry.dist.name] = entry.dist.version
            found |= _installed(_requirements(entry.dist, benchmark))
    return found


def _requirements(distribution: Distribution, extra: str) -> list[str]:
    ours = distribution.name == PROJECT
    wanted = []
    for line in distribution.requires or ():
        requirement, _, marker = line.partition(";")
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        conditions = re.findall(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if name is not None and (extra in conditions or not (conditions or ours)):
            wanted.append(name[0])
    return wanted


def _installed(names: list[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
