"""SimplerEnv: WidowX twins of the Bridge data set's kitchen tables, in ManiSkill 3."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_benchmarks"]


@hookimpl
def register_benchmarks(register: Register) -> None:
    """Offer SimplerEnv under its name; nothing heavy is imported until it is used."""
    register(
        "simpler",
        "vlascope_benchmarks.simpler.env:Simpler",
        summary="four WidowX Bridge twins of SimplerEnv (ManiSkill 3)",
    )
