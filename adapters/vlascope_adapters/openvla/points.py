"""The declarative map: where in the network each hook point is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vlascope.hooks import ATTENTION_SITE, HookPoint
from vlascope.taps import InputTap, OutputTap, ResidualTap, Tap, block_points, single_token
from vlascope_adapters.openvla.attention import LlamaAttention, ViTAttention

__all__ = ["ACTION_HEADS", "BACKBONE", "BLOCKS", "OFT_NAMED", "attention_taps", "block_taps"]

BLOCKS: Mapping[str, str] = {
    "vision": "vision_backbone.featurizer.blocks",
    "vision_fused": "vision_backbone.fused_featurizer.blocks",
    "vlm": "language_model.model.layers",
    "head": "action_head.model.mlp_resnet_blocks",
}
"""The modules that hold each pathway's blocks."""

_Sites = Mapping[str, Callable[[str], Tap]]

_VISION: _Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.ls1"),
    "resid_mid": lambda block: ResidualTap(f"{block}.norm1", f"{block}.ls1"),
    "mlp_act": lambda block: OutputTap(f"{block}.mlp.act"),
    "mlp_out": lambda block: OutputTap(f"{block}.ls2"),
    "resid_post": OutputTap,
}
_FILM: _Sites = {
    **{site: _VISION[site] for site in ("resid_pre", "resid_post")},
    "attn_out": lambda block: OutputTap(f"{block}.block.ls1"),
    "resid_mid": lambda block: OutputTap(f"{block}.modulated"),
    "mlp_act": lambda block: OutputTap(f"{block}.block.mlp.act"),
    "mlp_out": lambda block: OutputTap(f"{block}.block.ls2"),
}
_VLM: _Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.self_attn.o_proj"),
    "resid_mid": lambda block: ResidualTap(f"{block}.input_layernorm", f"{block}.self_attn.o_proj"),
    "mlp_act": lambda block: InputTap(f"{block}.mlp.down_proj"),
    "mlp_out": lambda block: OutputTap(f"{block}.mlp"),
    "resid_post": OutputTap,
}
_HEAD: _Sites = {
    "resid_pre": InputTap,
    "mlp_out": lambda block: OutputTap(f"{block}.ffn"),
    "resid_post": OutputTap,
}
BACKBONE: Mapping[HookPoint, Tap] = {
    HookPoint("vision", None, "projector"): OutputTap("projector"),
    HookPoint("vlm", None, "final_norm"): OutputTap("language_model.model.norm"),
}
ACTION_HEADS: Mapping[HookPoint, Tap] = {
    HookPoint("vlm", None, "action_head"): OutputTap("language_model.lm_head"),
}
OFT_NAMED: Mapping[HookPoint, Tap] = {
    HookPoint("vlm", None, "state_encoder"): single_token(OutputTap("proprio_projector")),
    HookPoint("head", None, "action_head"): OutputTap("action_head.model.fc2"),
}


def block_taps(layers: Mapping[str, int], *, film: bool = False) -> dict[HookPoint, Tap]:
    """Every site of every block, given how many blocks each pathway has."""
    vision = _FILM if film else _VISION
    sites = {"vision": vision, "vision_fused": vision, "vlm": _VLM, "head": _HEAD}
    return {
        point: tap
        for pathway, n_layers in layers.items()
        for point, tap in block_points(
            pathway, [f"{BLOCKS[pathway]}.{i}" for i in range(n_layers)], sites[pathway]
        ).items()
    }


def attention_taps(layers: Mapping[str, int], *, film: bool = False) -> dict[HookPoint, Tap]:
    """Attention probabilities of every block of the towers and of the language model."""
    vision = "block.attn" if film else "attn"
    return {
        HookPoint(pathway, layer, ATTENTION_SITE): (
            LlamaAttention(f"{BLOCKS[pathway]}.{layer}.self_attn")
            if pathway == "vlm"
            else ViTAttention(f"{BLOCKS[pathway]}.{layer}.{vision}")
        )
        for pathway, n_layers in layers.items()
        if pathway != "head"
        for layer in range(n_layers)
    }
