"""What the core itself provides, registered through the same door as everyone's."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_analyses", "register_interventions", "register_recipes"]

_KINDS = {
    "identity": ("ablate:Identity", "change nothing (control)"),
    "zero_ablate": ("ablate:ZeroAblate", "replace by zeros"),
    "mean_ablate": ("ablate:MeanAblate", "replace by a reference mean"),
    "resample_ablate": ("ablate:ResampleAblate", "replace by another episode's activation"),
    "inject": ("inject:Inject", "put in what another run computed"),
    "inject_subspace": ("inject:InjectSubspace", "the same, within a subspace"),
    "steer": ("steer:Steer", "add a direction"),
    "project_out": ("steer:ProjectOut", "remove a subspace"),
    "clamp": ("steer:Clamp", "hold neurons at a value"),
    "random_direction": ("steer:RandomDirection", "equal norm, random direction (control)"),
}

_ANALYSES: dict[str, tuple[str, str]] = {}

_RECIPES: dict[str, tuple[str, str]] = {}


@hookimpl
def register_interventions(register: Register) -> None:
    """The first-party interventions."""
    for kind, (target, summary) in _KINDS.items():
        register(kind, f"vlascope.interventions.{target}", summary=summary)


@hookimpl
def register_analyses(register: Register) -> None:
    """The first-party analyses."""
    for kind, (target, summary) in _ANALYSES.items():
        register(kind, f"vlascope.analyses.{target}", summary=summary)


@hookimpl
def register_recipes(register: Register) -> None:
    """The first-party recipes."""
    for kind, (target, summary) in _RECIPES.items():
        register(kind, f"vlascope.recipes.{target}", summary=summary)
