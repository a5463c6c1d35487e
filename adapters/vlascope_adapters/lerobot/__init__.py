"""Policies of lerobot 0.6 (Hugging Face), each an adapter on the real upstream class."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_adapters"]

_ADAPTERS = {
    "act": ("act:ACTAdapter", "ACT: ResNet, encoder, decoder; no language"),
}


@hookimpl
def register_adapters(register: Register) -> None:
    """Offer each under its name."""
    for name, (target, summary) in _ADAPTERS.items():
        register(name, f"vlascope_adapters.lerobot.{target}", summary=summary)
