"""Policies of lerobot 0.6 (Hugging Face), each an adapter on the real upstream class."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_adapters", "register_datasets"]

_ADAPTERS = {
    "act": ("act:ACTAdapter", "ACT: ResNet, encoder, decoder; no language"),
    "smolvla": ("smolvla:SmolVLAAdapter", "SmolVLA: SmolVLM2 and a flow-matching expert"),
    "pi0": ("pi:Pi0Adapter", "pi0: PaliGemma and a flow-matching expert; the state is a token"),
    "pi05": ("pi:Pi05Adapter", "pi0.5: pi0 with the state as text and the time in the norms"),
    "xvla": ("xvla:XVLAAdapter", "X-VLA: Florence-2 and a soft-prompted transformer"),
    "groot": ("groot:GrootAdapter", "GR00T N1.7: Qwen3-VL and a diffusion transformer"),
}


@hookimpl
def register_adapters(register: Register) -> None:
    """Offer each under its name."""
    for name, (target, summary) in _ADAPTERS.items():
        register(name, f"vlascope_adapters.lerobot.{target}", summary=summary)


@hookimpl
def register_datasets(register: Register) -> None:
    """Offer LeRobotDataset v3."""
    register(
        "lerobot",
        "vlascope_adapters.lerobot.datasets:LeRobotFormat",
        summary="LeRobotDataset v3, a folder or an id on the hub; read and written",
    )
