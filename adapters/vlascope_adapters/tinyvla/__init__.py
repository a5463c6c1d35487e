"""TinyVLA: a small language-conditioned policy, trained here, that ships with its weights."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_adapters", "register_commands"]


@hookimpl
def register_adapters(register: Register) -> None:
    """Offer the policy under its name."""
    register(
        "tinyvla",
        "vlascope_adapters.tinyvla.adapter:TinyVLAAdapter",
        summary="1.6 M parameters: vision, vlm, flow expert; plays MetaWorld, LIBERO, ALOHA",
    )


@hookimpl
def register_commands(register: Register) -> None:
    """Add `vlascope zoo`: demonstrations, training and evaluation."""
    register(
        "zoo",
        "vlascope_adapters.tinyvla.command:app",
        summary="train and evaluate the policies that vlascope ships",
    )
