"""Toy: a point that goes to coloured goals, for checks that need the truth and milliseconds."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_benchmarks"]


@hookimpl
def register_benchmarks(register: Register) -> None:
    """Offer the toy world under its name."""
    register(
        "toy",
        "vlascope_benchmarks.toy.env:ToyBenchmark",
        summary="a point that goes to coloured goals: no simulator, known truth",
    )
