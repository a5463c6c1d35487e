"""Toy: a policy whose every weight is known, so that each engine's answer can be checked."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_adapters"]


@hookimpl
def register_adapters(register: Register) -> None:
    """Offer the toy policy under its name."""
    register(
        "toy",
        "vlascope_adapters.toy.adapter:ToyAdapter",
        summary="constructed weights, known causal structure; plays the toy benchmark",
    )
