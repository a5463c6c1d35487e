"""ALOHA: two arms, a cube to hand over and a peg to insert, from gym-aloha."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_benchmarks"]


@hookimpl
def register_benchmarks(register: Register) -> None:
    """Offer ALOHA under its name; nothing heavy is imported until it is used."""
    register(
        "aloha",
        "vlascope_benchmarks.aloha.env:Aloha",
        summary="ALOHA: two arms hand over a cube or insert a peg (gym-aloha, MuJoCo)",
    )
