"""MetaWorld: fifty tabletop tasks with language, and one scene with eight instructions."""

from __future__ import annotations

from collections.abc import Callable

from vlascope.hookspecs import hookimpl

__all__ = ["register_benchmarks"]


@hookimpl
def register_benchmarks(register: Callable[..., None]) -> None:
    """Offer MetaWorld under its name; nothing heavy is imported until it is used."""
    register(
        "metaworld",
        "vlascope_benchmarks.metaworld.env:MetaWorld",
        summary="50 MetaWorld v3 tasks and a scene with eight instructions (MuJoCo)",
    )
