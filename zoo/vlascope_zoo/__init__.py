"""The zoo: small trained policies of many architectures, as a plugin of vlascope."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_checkpoints", "register_trainings"]


@hookimpl
def register_checkpoints(register: Register) -> None:
    """Name the trained policies that come with this package: `zoo:NAME`."""
    from vlascope_zoo.trained import summary_of, trained_names

    for name in trained_names():
        target = f"vlascope_zoo.trained:policy_{name.replace('-', '_')}"
        register(f"zoo:{name}", target, summary=summary_of(name))
    register(
        "zoo:tinyvla",
        "vlascope_zoo.trained:TINYVLA",
        summary="the policy that vlascope itself ships; trained on more demonstrations",
    )


@hookimpl
def register_trainings(register: Register) -> None:
    """Name the recipes that `vlascope zoo` can carry out."""
    from vlascope_zoo.recipe import recipe_names

    for name in recipe_names():
        target = f"vlascope_zoo.trainings:recipe_{name.replace('-', '_')}"
        register(name, target, summary="of the zoo")
