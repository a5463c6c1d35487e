"""LIBERO and LIBERO-PRO: tabletop manipulation told in words."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_benchmarks"]


@hookimpl
def register_benchmarks(register: Register) -> None:
    """Offer LIBERO under its name; nothing heavy is imported until it is used."""
    register(
        "libero",
        "vlascope_benchmarks.libero.env:Libero",
        summary="LIBERO's 130 tasks and LIBERO-PRO's 160 variants (MuJoCo, robosuite)",
    )
