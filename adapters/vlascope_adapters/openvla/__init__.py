"""OpenVLA and OpenVLA-OFT, networks of our own that load the published checkpoints."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_adapters"]

_HERE = "vlascope_adapters.openvla"


@hookimpl
def register_adapters(register: Register) -> None:
    """Offer each under its name."""
    register(
        "openvla",
        f"{_HERE}.adapter:OpenVLAAdapter",
        summary="OpenVLA: DINOv2 and SigLIP, Llama-2 that says action tokens",
    )
    register(
        "openvla_oft",
        f"{_HERE}.oft_adapter:OpenVLAOFTAdapter",
        summary="OpenVLA-OFT: two cameras, state, a chunk in one pass, regression head",
    )
