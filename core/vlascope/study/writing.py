"""A study file to begin with: recipes for given policies, options written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from vlascope import plugins
from vlascope.loading import load
from vlascope.study.expansion import expanded
from vlascope.study.schema import Study
from vlascope.study.seeds import compact

if TYPE_CHECKING:
    from vlascope.hooks import Pathway

__all__ = ["new_study"]


def new_study(
    recipes: Sequence[str],
    *,
    policies: Sequence[str],
    benchmark: str,
    tasks: Sequence[str],
    seeds: str,
    name: str = "",
) -> str:
    """YAML of a study with these recipes; it validates as it is.

    Args:
        recipes: kinds; each becomes a recipe of that name.
        policies: `ADAPTER:CHECKPOINT`; each is named after its adapter.
        benchmark: its registered name.
        tasks: names, globs or `suite:NAME`.
        seeds: as a study file writes them, `0-9`.
        name: of the study; by default the recipes' names joined.

    Raises:
        UnknownName: a recipe or adapter is not registered.
        StudyFileError: a recipe does not fit these tasks.
    """
    chosen = {_name(p): _choice(p) for p in policies}
    pathways = _shared_pathways(list(chosen.values()))
    written: dict[str, Any] = {
        "name": name or "-".join(recipes),
        "policies": chosen,
        "benchmark": {"name": benchmark},
        "tasks": list(tasks),
        "seeds": seeds,
        "recipes": {r: {"kind": r, **plugins.recipe_class(r).suggested(pathways)} for r in recipes},
    }
    study = expanded(Study.model_validate(written))
    written["seeds"] = compact(study.seeds)
    header = f"# vlascope study run FILE: {len(study.arms)} arms beside automatic controls.\n"
    return header + yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=100)


def _choice(policy: str) -> dict[str, str]:
    adapter, _, checkpoint = policy.partition(":")
    plugins.adapter_class(adapter)
    return {"adapter": adapter, "checkpoint": checkpoint or "tiny"}


def _name(policy: str) -> str:
    return policy.partition(":")[0].replace("-", "_")


def _shared_pathways(choices: Sequence[dict[str, str]]) -> tuple[Pathway, ...]:
    """The pathways of every chosen policy, each name once, the shallowest of that name."""
    found: dict[str, Pathway] = {}
    for choice in choices:
        for pathway in load(choice["adapter"], choice["checkpoint"]).info.pathways:
            held = found.setdefault(pathway.name, pathway)
            if pathway.n_layers < held.n_layers:
                found[pathway.name] = pathway
    return tuple(found.values())
