"""Where pi0 and pi0.5 can be read and written: their declarative map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vlascope.hooks import HookPoint
from vlascope.taps import Edit, InputTap, OutputTap, ResidualTap, Tap, single_token

__all__ = [
    "GATED_GEMMA",
    "GEMMA",
    "NAMED",
    "NAMED_PI0",
    "NAMED_PI05",
    "SIGLIP",
    "STACKS",
    "TOWER",
    "VLM",
    "GatedTap",
    "Sites",
]

Sites = Mapping[str, Callable[[str], Tap]]
"""For each site of a block, its tap, given the block's path."""

_ENGINE = "model.paligemma_with_expert"
TOWER = f"{_ENGINE}.paligemma.model.vision_tower.vision_model"
VLM = f"{_ENGINE}.paligemma.model.language_model"
_EXPERT = f"{_ENGINE}.gemma_expert.model"

STACKS = {
    "vision": f"{TOWER}.encoder.layers",
    "vlm": f"{VLM}.layers",
    "expert": f"{_EXPERT}.layers",
}
"""Each pathway's blocks."""


@dataclass(frozen=True)
class GatedTap:
    """What a gated branch adds to the stream, or the stream after it.

    pi0.5's expert adds `gate * branch(norm(x))`, the gate being the second output of `norm`. The
    product is formed where the branch ends, and the gate is one from there on: the sum that
    upstream takes is the same to the last bit, and no write divides by a gate that may be zero.

    Attributes:
        norm: dotted path of the norm whose first input is the stream before the branch.
        branch: dotted path of the module whose output is gated.
        summed: whether to show the stream after the branch, instead of what is added.
    """

    norm: str
    branch: str
    summed: bool = False

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Hook the norm to take its gate away, and the branch to apply it."""
        held: list[Tensor] = []

        def take(
            _module: nn.Module, args: tuple[Tensor, ...], output: tuple[Tensor, Tensor]
        ) -> Any:
            held[:] = [args[0], output[1]]
            return output[0], torch.ones_like(output[1])

        def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
            before, gate = held
            added = output * gate
            new = edit(before + added if self.summed else added)
            if new is None:
                return added
            return new - before if self.summed else new

        return [
            model.get_submodule(self.norm).register_forward_hook(take),
            model.get_submodule(self.branch).register_forward_hook(hook),
        ]


SIGLIP: Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.self_attn.out_proj"),
    "resid_mid": lambda block: ResidualTap(f"{block}.layer_norm1", f"{block}.self_attn.out_proj"),
    "mlp_act": lambda block: InputTap(f"{block}.mlp.fc2"),
    "mlp_out": lambda block: OutputTap(f"{block}.mlp"),
    "resid_post": OutputTap,
}
GEMMA: Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.self_attn.o_proj"),
    "resid_mid": lambda block: ResidualTap(f"{block}.input_layernorm", f"{block}.self_attn.o_proj"),
    "mlp_act": lambda block: InputTap(f"{block}.mlp.down_proj"),
    "mlp_out": lambda block: OutputTap(f"{block}.mlp"),
    "resid_post": OutputTap,
}
GATED_GEMMA: Sites = {
    **GEMMA,
    "attn_out": lambda block: GatedTap(f"{block}.input_layernorm", f"{block}.self_attn.o_proj"),
    "resid_mid": lambda block: GatedTap(
        f"{block}.input_layernorm", f"{block}.self_attn.o_proj", summed=True
    ),
    "mlp_out": lambda block: GatedTap(f"{block}.post_attention_layernorm", f"{block}.mlp"),
}
"""The expert of pi0.5, whose norms are told the time and give each branch its gate (AdaRMS)."""


def _point(name: str) -> HookPoint:
    return HookPoint.parse(name)


NAMED: Mapping[HookPoint, Tap] = {
    _point("vision.final_norm"): OutputTap(f"{TOWER}.post_layernorm"),
    _point("vision.projector"): OutputTap(f"{_ENGINE}.paligemma.model.multi_modal_projector"),
    _point("vlm.final_norm"): OutputTap(f"{VLM}.norm"),
    _point("expert.action_encoder"): OutputTap("model.action_in_proj"),
    _point("expert.final_norm"): OutputTap(f"{_EXPERT}.norm"),
    _point("expert.action_head"): OutputTap("model.action_out_proj"),
}
NAMED_PI0: Mapping[HookPoint, Tap] = {
    **NAMED,
    _point("expert.state_encoder"): single_token(OutputTap("model.state_proj")),
    _point("expert.action_time_encoder"): OutputTap("model.action_time_mlp_out"),
}
NAMED_PI05: Mapping[HookPoint, Tap] = {
    **NAMED,
    _point("expert.time_encoder"): single_token(OutputTap("model.time_mlp_out")),
}
