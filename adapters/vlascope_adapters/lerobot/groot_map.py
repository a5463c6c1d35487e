"""Where GR00T's hook points are: one declarative map."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from vlascope.hooks import HookPoint
from vlascope.taps import InputTap, OutputTap, ResidualTap, Tap, TokenTap
from vlascope_adapters.lerobot.groot_taps import AttentionTap, dit_attention, qwen_attention

__all__ = ["ATTENTION", "BLOCKS", "FINAL_NORM", "LANGUAGE", "NAMED", "SITES", "TOWER"]

TOWER = "_groot_model.backbone.model.model.visual"
LANGUAGE = "_groot_model.backbone.model.model.language_model"
HEAD = "_groot_model.action_head"
BLOCKS: Mapping[str, str] = {
    "vision": f"{TOWER}.blocks",
    "vlm": f"{LANGUAGE}.layers",
    "vlsa": f"{HEAD}.vl_self_attention.transformer_blocks",
    "expert": f"{HEAD}.model.transformer_blocks",
}

Sites = Mapping[str, Callable[[str], Tap]]
_VISION: Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.attn"),
    "resid_mid": lambda block: ResidualTap(f"{block}.norm1", f"{block}.attn"),
    "mlp_act": lambda block: InputTap(f"{block}.mlp.linear_fc2"),
    "mlp_out": lambda block: OutputTap(f"{block}.mlp"),
    "resid_post": OutputTap,
}
_VLM: Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.self_attn.o_proj"),
    "resid_mid": lambda block: ResidualTap(f"{block}.input_layernorm", f"{block}.self_attn.o_proj"),
    "mlp_act": lambda block: InputTap(f"{block}.mlp.down_proj"),
    "mlp_out": lambda block: OutputTap(f"{block}.mlp"),
    "resid_post": OutputTap,
}
_TRANSFORMER: Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.attn1"),
    "resid_mid": lambda block: ResidualTap(f"{block}.norm1", f"{block}.attn1"),
    "mlp_act": lambda block: InputTap(f"{block}.ff.net.2"),
    "mlp_out": lambda block: OutputTap(f"{block}.ff"),
    "resid_post": OutputTap,
}
ATTENTION: Mapping[str, Callable[[str], Tap]] = {
    "vlm": lambda b: AttentionTap(f"{b}.self_attn", f"{b}.self_attn.o_proj", qwen_attention),
    "vlsa": lambda b: AttentionTap(f"{b}.attn1", f"{b}.attn1.to_out.0", dit_attention),
    "expert": lambda b: AttentionTap(f"{b}.attn1", f"{b}.attn1.to_out.0", dit_attention),
}
SITES: Mapping[str, Sites] = {
    "vision": _VISION,
    "vlm": _VLM,
    "vlsa": _TRANSFORMER,
    "expert": _TRANSFORMER,
}
FINAL_NORM = HookPoint("vlm", None, "final_norm")
NAMED: Mapping[HookPoint, Tap] = {
    FINAL_NORM: OutputTap(f"{LANGUAGE}.norm"),
    HookPoint("expert", None, "state_encoder"): TokenTap(
        InputTap(f"{HEAD}.model", "hidden_states"),
        lambda sequence: sequence[:, :1],
        lambda state, sequence: torch.cat([state, sequence[:, 1:]], dim=1),
    ),
    HookPoint("expert", None, "action_encoder"): OutputTap(f"{HEAD}.action_encoder"),
    HookPoint("expert", None, "final_norm"): OutputTap(f"{HEAD}.model.norm_out"),
    HookPoint("expert", None, "action_head"): OutputTap(f"{HEAD}.action_decoder"),
}
