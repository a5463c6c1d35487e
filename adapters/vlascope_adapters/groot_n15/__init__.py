"""GR00T N1.5 (NVIDIA), a native inference port: lerobot 0.6 has N1.7 only."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_adapters"]


@hookimpl
def register_adapters(register: Register) -> None:
    """Offer the policy under its name."""
    register(
        "groot_n15",
        "vlascope_adapters.groot_n15.adapter:GR00TN15Adapter",
        summary="GR00T N1.5: SigLIP, Qwen3, self-attention, DiT; the hub's weights as they are",
    )
