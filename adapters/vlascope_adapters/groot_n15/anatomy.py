"""Where everything is: pathways, hook points and attention of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from vlascope.hooks import ATTENTION_SITE, HookPoint, Pathway
from vlascope.taps import InputTap, OutputTap, ResidualTap, Tap, TokenTap, block_points
from vlascope_adapters.groot_n15.network import GR00TN15

__all__ = ["attention_points", "blocks", "hook_points", "pathways"]

_EAGLE, _HEAD = "backbone.eagle_model", "action_head"
_BLOCKS: Mapping[str, str] = {
    "vision": f"{_EAGLE}.vision_model.vision_model.encoder.layers",
    "vlm": f"{_EAGLE}.language_model.model.layers",
    "vlsa": f"{_HEAD}.vl_self_attention.transformer_blocks",
    "expert": f"{_HEAD}.model.transformer_blocks",
}
_Sites = Mapping[str, Callable[[str], Tap]]
_VISION: _Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.self_attn.out_proj"),
    "resid_mid": lambda block: ResidualTap(f"{block}.layer_norm1", f"{block}.self_attn.out_proj"),
    "mlp_act": lambda block: InputTap(f"{block}.mlp.fc2"),
    "mlp_out": lambda block: OutputTap(f"{block}.mlp"),
    "resid_post": OutputTap,
}
_VLM: _Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.self_attn.o_proj"),
    "resid_mid": lambda block: ResidualTap(f"{block}.input_layernorm", f"{block}.self_attn.o_proj"),
    "mlp_act": lambda block: InputTap(f"{block}.mlp.down_proj"),
    "mlp_out": lambda block: OutputTap(f"{block}.mlp"),
    "resid_post": OutputTap,
}
_DIFFUSERS: _Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.attn1"),
    "resid_mid": lambda block: ResidualTap(f"{block}.norm1", f"{block}.attn1"),
    "mlp_act": lambda block: OutputTap(f"{block}.ff.net.0"),
    "mlp_out": lambda block: OutputTap(f"{block}.ff"),
    "resid_post": OutputTap,
}
_ATTENTION: Mapping[str, str] = {
    "vision": "self_attn", "vlm": "self_attn", "vlsa": "attn1", "expert": "attn1",
}  # fmt: skip


def blocks(network: GR00TN15, pathway: str) -> list[str]:
    """The blocks of a pathway, as module paths."""
    where = _BLOCKS[pathway]
    stack: Any = network.get_submodule(where)
    return [f"{where}.{layer}" for layer in range(len(stack))]


def pathways(
    network: GR00TN15, eagle: Mapping[str, Any], cameras: Sequence[str]
) -> tuple[Pathway, ...]:
    """vision, vlm, vlsa, and the expert once a denoising step."""
    images = tuple(f"image.{camera}" for camera in cameras)
    streams = {
        "vision": images,
        "vlm": (*images, "instruction"),
        "vlsa": (*images, "instruction"),
        "expert": ("state", "soft_prompt", "action"),
    }
    sizes = {
        name: (eagle[config]["hidden_size"], eagle[config]["intermediate_size"])
        for name, config in (("vision", "vision_config"), ("vlm", "text_config"))
    }
    for name in ("vlsa", "expert"):
        down: Any = network.get_submodule(f"{blocks(network, name)[0]}.ff.net.2")
        sizes[name] = (down.out_features, down.in_features)
    calls = {"expert": network.action_head.steps}
    return tuple(
        Pathway(name, len(blocks(network, name)), width, calls.get(name, 1), streams[name], neurons)
        for name, (width, neurons) in sizes.items()
    )


def hook_points(network: GR00TN15, views: int) -> dict[HookPoint, Tap]:
    """Six sites of every block, and the named points, for rows of so many pictures."""
    vision: _Sites = {
        site: lambda block, tap=tap: _by_row(tap(block), views)  # type: ignore[misc]
        for site, tap in _VISION.items()
    }
    sites = {"vision": vision, "vlm": _VLM, "vlsa": _DIFFUSERS, "expert": _DIFFUSERS}
    points = [block_points(name, blocks(network, name), sites[name]) for name in sites]
    return {point: tap for some in (*points, _named(network, views)) for point, tap in some.items()}


def attention_points(network: GR00TN15, views: int) -> dict[HookPoint, Tap]:
    """Every attention; of vision, each picture's heads after those of the picture before."""
    points: dict[HookPoint, Tap] = {
        HookPoint(name, layer, ATTENTION_SITE): OutputTap(f"{block}.{module}.probabilities")
        for name, module in _ATTENTION.items()
        for layer, block in enumerate(blocks(network, name))
    }
    return {
        point: _by_row(tap, views) if point.pathway == "vision" else tap
        for point, tap in points.items()
    }


def _named(network: GR00TN15, views: int) -> dict[HookPoint, Tap]:
    """Points outside the blocks. The expert's constant inputs are read where its blocks begin."""
    first = InputTap(blocks(network, "expert")[0])
    soft = network.action_head.future_tokens.num_embeddings
    points: dict[str, Tap] = {
        "vision.projector": _by_row(OutputTap(f"{_EAGLE}.mlp1"), views),
        "vlm.final_norm": OutputTap(f"{_EAGLE}.language_model.model.norm"),
        "vlsa.input_norm": OutputTap(f"{_HEAD}.vlln"),
        "expert.state_encoder": _some_tokens(first, 0, 1),
        "expert.soft_prompt": _some_tokens(first, 1, 1 + soft),
        "expert.action_encoder": OutputTap(f"{_HEAD}.action_encoder"),
        "expert.action_head": OutputTap(f"{_HEAD}.action_decoder"),
    }
    return {HookPoint.parse(name): tap for name, tap in points.items()}


def _by_row(tap: Tap, views: int) -> TokenTap:
    """Pictures of a row, which the network stacks in its batch, as tokens one after another."""
    return TokenTap(
        tap,
        lambda pictures: pictures.reshape(-1, views * pictures.shape[1], *pictures.shape[2:]),
        lambda new, like: new.reshape(like.shape),
    )


def _some_tokens(tap: Tap, start: int, stop: int) -> TokenTap:
    """Some tokens of what another tap shows."""
    return TokenTap(
        tap,
        lambda tokens: tokens[:, start:stop],
        lambda new, like: torch.cat([like[:, :start], new, like[:, stop:]], dim=1),
    )
