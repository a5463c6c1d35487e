"""What activations say: linear probes, contrastive concepts and FFN value vectors."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_commands"]


@hookimpl
def register_commands(register: Register) -> None:
    """Add the commands of the probes package."""
