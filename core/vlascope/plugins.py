"""Finding what installed packages provide, without importing it until it is used.

Plugins are loaded and called one by one: a broken one warns by name and the rest works. The
environment variable `VLASCOPE_BLOCK` (comma-separated entry-point names) keeps plugins out.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points, metadata
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal, get_args

import pluggy

from vlascope import hookspecs
from vlascope.errors import VlascopeError, unknown_name

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter
    from vlascope.benchmark import BenchmarkEnv
    from vlascope.interventions import Intervention
    from vlascope.perturbations import Perturbation
    from vlascope.replay.formats import DatasetFormat
    from vlascope.study.analysis import Analysis
    from vlascope.study.recipe import Recipe

__all__ = [
    "BLOCK_VARIABLE",
    "Kind",
    "PluginWarning",
    "Registered",
    "adapter_class",
    "adapters",
    "analyses",
    "analysis_class",
    "benchmark_class",
    "benchmarks",
    "checkpoints",
    "commands",
    "dataset_format",
    "datasets",
    "encoders",
    "intervention_class",
    "interventions",
    "load",
    "perturbation_class",
    "perturbations",
    "recipe_class",
    "recipes",
    "registry",
    "reload",
    "saes",
    "trackers",
    "trainings",
]

BLOCK_VARIABLE = "VLASCOPE_BLOCK"
Kind = Literal[
    "adapters",
    "checkpoints",
    "benchmarks",
    "datasets",
    "interventions",
    "perturbations",
    "saes",
    "encoders",
    "analyses",
    "recipes",
    "trackers",
    "trainings",
    "commands",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


class PluginWarning(UserWarning):
    """A plugin that is broken, or a name that two plugins claim."""


class PluginTargetError(VlascopeError, ImportError):
    """A registered import string that does not resolve."""


@dataclass(frozen=True)
class Registered:
    """One name and where it leads.

    Attributes:
        name: what users type.
        target: `"package.module:attribute"`.
        plugin: the entry point that registered it.
        summary: one line for listings.
        distribution: the installed package that holds the plugin.
    """

    name: str
    target: str
    plugin: str
    summary: str = ""
    distribution: str = ""


@cache
def registry() -> Mapping[Kind, Mapping[str, Registered]]:
    """Everything registered, by kind and name; the first plugin to claim a name keeps it."""
    found: dict[Kind, dict[str, Registered]] = {kind: {} for kind in KINDS}
    for entry in _entry_points():
        for registered_as, entries in _collect(entry).items():
            for new in entries:
                _add(found[registered_as], new, registered_as)
    return found


def reload() -> None:
    """Look for plugins again (after installing one, or changing the block list)."""
    registry.cache_clear()


def load(kind: Kind, name: str) -> Any:
    """Import what `name` stands for.

    Raises:
        UnknownName: nothing of that kind goes by that name; near matches are listed.
        PluginTargetError: its import string does not resolve; says which plugin to fix.
    """
    known = registry()[kind]
    if name not in known:
        raise unknown_name(_one_of(kind), name, known)
    entry = known[name]
    try:
        return resolve_name(entry.target)
    except (ImportError, AttributeError) as error:
        raise PluginTargetError(
            f"{_one_of(kind)} {name!r} of plugin {entry.plugin!r} points at "
            f"{entry.target!r}, which does not import: {error}{_remedy(entry, error)}"
        ) from error


def adapters() -> Mapping[str, Registered]:
    """Registered adapters by name."""
    return registry()["adapters"]


def checkpoints() -> Mapping[str, Registered]:
    """Registered trained policies by name, `COLLECTION:NAME`."""
    return registry()["checkpoints"]


def benchmarks() -> Mapping[str, Registered]:
    """Registered benchmarks by name."""
    return registry()["benchmarks"]


def datasets() -> Mapping[str, Registered]:
    """Registered formats of recorded episodes, by name."""
    return registry()["datasets"]


def interventions() -> Mapping[str, Registered]:
    """Registered interventions by kind."""
    return registry()["interventions"]


def perturbations() -> Mapping[str, Registered]:
    """Registered perturbations by kind."""
    return registry()["perturbations"]


def saes() -> Mapping[str, Registered]:
    """Registered sparse autoencoders by name."""
    return registry()["saes"]


def encoders() -> Mapping[str, Registered]:
    """What opens encoders, by name."""
    return registry()["encoders"]


def analyses() -> Mapping[str, Registered]:
    """Registered analyses by kind."""
    return registry()["analyses"]


def recipes() -> Mapping[str, Registered]:
    """Registered study recipes by kind."""
    return registry()["recipes"]


def trackers() -> Mapping[str, Registered]:
    """What opens trackers of trainings, by kind."""
    return registry()["trackers"]


def trainings() -> Mapping[str, Registered]:
    """What `vlascope zoo` can train from nothing, by name."""
    return registry()["trainings"]


def commands() -> Mapping[str, Registered]:
    """Registered extra commands by name."""
    return registry()["commands"]


def adapter_class(name: str) -> type[VLAAdapter]:
    """The adapter of that name."""
    return load("adapters", name)


def benchmark_class(name: str) -> type[BenchmarkEnv]:
    """The benchmark of that name."""
    return load("benchmarks", name)


def dataset_format(name: str) -> type[DatasetFormat]:
    """The format of recorded episodes of that name."""
    return load("datasets", name)


def intervention_class(kind: str) -> type[Intervention]:
    """The intervention of that kind."""
    return load("interventions", kind)


def perturbation_class(kind: str) -> type[Perturbation]:
    """The perturbation of that kind."""
    return load("perturbations", kind)


def analysis_class(kind: str) -> type[Analysis]:
    """The analysis of that kind."""
    return load("analyses", kind)


def recipe_class(kind: str) -> type[Recipe]:
    """The recipe of that kind."""
    return load("recipes", kind)


def _one_of(kind: Kind) -> str:
    """A kind in the singular."""
    return "analysis" if kind == "analyses" else kind.removesuffix("s")


def _entry_points() -> list[EntryPoint]:
    blocked = {n.strip() for n in os.environ.get(BLOCK_VARIABLE, "").split(",")}
    found = entry_points(group=hookspecs.PROJECT)
    return sorted((e for e in found if e.name not in blocked), key=lambda e: (e.name, e.value))


def _collect(entry: EntryPoint) -> dict[Kind, list[Registered]]:
    """What one plugin registers; nothing, and a warning that names it, where it is broken."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    found: dict[Kind, list[Registered]] = {kind: [] for kind in KINDS}
    try:
        manager.register(entry.load(), name=entry.name)
        manager.check_pending()
        for kind in KINDS:

            def register(name: str, target: str, *, summary: str = "", kind: Kind = kind) -> None:
                distribution = entry.dist.name if entry.dist else ""
                found[kind].append(Registered(name, target, entry.name, summary, distribution))

            getattr(manager.hook, f"register_{kind}")(register=register)
    except Exception as error:
        warnings.warn(
            f"plugin {entry.name!r} ({entry.value}) is broken and left out: "
            f"{type(error).__name__}: {error}; fix or uninstall it, or set "
            f"{BLOCK_VARIABLE}={entry.name}",
            PluginWarning,
            stacklevel=2,
        )
        return {kind: [] for kind in KINDS}
    return found


def _remedy(entry: Registered, error: Exception) -> str:
    """Which extra of the plugin's distribution would bring the module that is missing.

    The extra that goes by the plugin's own name, else those that require the missing package.
    """
    top = (getattr(error, "name", None) or "").partition(".")[0]
    if not top or not entry.distribution or top == entry.target.partition(".")[0]:
        return ""
    about = metadata(entry.distribution)
    extras = set(about.get_all("Provides-Extra") or ())
    if entry.plugin in extras:
        extras = {entry.plugin}
    else:
        extras &= set(_extras_requiring(top, about.get_all("Requires-Dist") or ()))
    extras = extras - {"all"} or extras
    if not extras:
        return ""
    choices = " or ".join(f"'{entry.distribution}[{extra}]'" for extra in sorted(extras))
    return f"; install it with `pip install {choices}`"


def _extras_requiring(package: str, requirements: Iterable[str]) -> Iterator[str]:
    """Extras that name the package themselves (`timm>=1.0; extra == 'vision'`)."""
    name = re.escape(package.lower()).replace("_", "[-_.]")
    wanted = re.compile(rf"{name}(?![\w.-]).*extra\s*==\s*['\"](?P<extra>[\w.-]+)", re.IGNORECASE)
    for requirement in requirements:
        if found := wanted.match(requirement):
            yield found["extra"]


def _add(known: dict[str, Registered], new: Registered, kind: Kind) -> None:
    if new.name not in known:
        known[new.name] = new
        return
    old = known[new.name]
    warnings.warn(
        f"{_one_of(kind)} {new.name!r} is registered by plugins {old.plugin!r} "
        f"({old.target}) and {new.plugin!r} ({new.target}); keeping {old.plugin!r}'s. Set "
        f"{BLOCK_VARIABLE}={old.plugin} to use the other",
        PluginWarning,
        stacklevel=2,
    )
