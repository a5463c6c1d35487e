"""MetaWorld: fifty tabletop tasks with language, and one scene with eight instructions."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_benchmarks"]


@hookimpl
def register_benchmarks(register: Register) -> None:
    """Offer MetaWorld under its name; nothing heavy is imported until it is used."""
    register(
        "metaworld",
        "vlascope_benchmarks.metaworld.env:MetaWorld",
        summary="50 MetaWorld v3 tasks and a scene with eight instructions (MuJoCo)",
    )
