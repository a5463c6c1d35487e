"""X-VLA's hook map: blocks, sites and named points, and how their tensors are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vlascope.hooks import ATTENTION_SITE, HookPoint
from vlascope.taps import Edit, InputTap, OutputTap, ResidualTap, Tap, TokenTap, block_points

__all__ = ["AttentionTap", "attention_taps", "blocks", "stages", "taps"]

_FLORENCE, _TRUNK = "model.vlm", "model.transformer"
_Sites = Mapping[str, Callable[[str], Tap]]


def _of_views(tap: Tap, views: int) -> TokenTap:
    """Tokens of every view, (batch * views, tokens, width), as those of one row after another."""
    return TokenTap(
        tap,
        lambda value: value.reshape(-1, views * value.shape[1], value.shape[2]),
        lambda new, like: new.reshape(like.shape),
    )


def _of_maps(tap: Tap, views: int) -> TokenTap:
    """Feature maps of every view, (batch * views, width, rows, columns), as tokens row by row."""

    def tokens(value: Tensor) -> Tensor:
        pixels = value.flatten(2).transpose(1, 2)
        return pixels.reshape(-1, views * pixels.shape[1], pixels.shape[2])

    def back(new: Tensor, like: Tensor) -> Tensor:
        pixels = new.reshape(like.shape[0], -1, like.shape[1])
        return pixels.transpose(1, 2).reshape(like.shape)

    return TokenTap(tap, tokens, back)


def _end_to_end(tap: Tap, tokens: int) -> TokenTap:
    """Several tokens laid end to end in one vector, (batch, tokens * width)."""
    return TokenTap(
        tap,
        lambda value: value.reshape(len(value), tokens, -1),
        lambda new, _: new.flatten(1),
    )


def _written_apart(tap: Tap) -> TokenTap:
    """A tap into a tensor that upstream goes on to change in place."""
    return TokenTap(tap, lambda value: value, lambda new, _: new.clone())


@dataclass(frozen=True)
class AttentionTap:
    """Attention probabilities, (batch, heads, queries, keys), of a fused attention without mask.

    They are computed beside the network from the queries and keys that it computed, so that
    looking changes nothing. An edit mixes the values anew, for the output projection to take.

    Attributes:
        attention: dotted path of the attention module.
        inputs: the projections that give queries, keys and values, one for each or one for all.
        output: the projection that takes the mixed values.
    """

    attention: str
    inputs: tuple[str, ...]
    output: str

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Hook the projections before and after."""
        attention: Any = model.get_submodule(self.attention)
        seen: list[Tensor] = []

        def keep(_module: nn.Module, _args: Any, output: Tensor) -> None:
            seen.append(output)

        def mix(_module: nn.Module, args: tuple[Tensor, ...]) -> Any:
            queries, keys, values = _heads(torch.cat(seen, dim=-1), attention.num_heads)
            seen.clear()
            scores = queries.float() @ keys.float().transpose(-1, -2) * queries.shape[-1] ** -0.5
            new = edit(scores.softmax(-1))
            if new is None:
                return None
            return ((new.to(values.dtype) @ values).transpose(1, 2).reshape(args[0].shape),)

        handles = [attention.get_submodule(p).register_forward_hook(keep) for p in self.inputs]
        after = attention.get_submodule(self.output).register_forward_pre_hook(mix)
        return [*handles, after]


def _heads(projected: Tensor, heads: int) -> Sequence[Tensor]:
    """Queries, keys and values side by side, (batch, tokens, 3 * width), each split into heads."""
    rows, tokens, width = projected.shape
    split = projected.reshape(rows, tokens, 3, heads, width // (3 * heads))
    return split.permute(2, 0, 3, 1, 4).unbind(0)


def _davit(attention: str, views: int) -> _Sites:
    """One half of a DaViT block, which attends over windows or over channels."""
    return {
        "resid_pre": lambda block: _of_maps(InputTap(block), views),
        "attn_out": lambda block: _of_views(OutputTap(f"{block}.{attention}"), views),
        "resid_mid": lambda block: _of_views(
            ResidualTap(f"{block}.norm1", f"{block}.{attention}"), views
        ),
        "mlp_act": lambda block: _of_views(OutputTap(f"{block}.ffn.activation_fn"), views),
        "mlp_out": lambda block: _of_views(OutputTap(f"{block}.ffn"), views),
        "resid_post": lambda block: _of_maps(OutputTap(block), views),
    }


_BART: _Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.self_attn.out_proj"),
    "resid_mid": lambda block: OutputTap(f"{block}.self_attn_layer_norm"),
    "mlp_act": lambda block: OutputTap(f"{block}.activation_fn"),
    "mlp_out": lambda block: OutputTap(f"{block}.fc2"),
    "resid_post": OutputTap,
}
_SOFT_PROMPTED: _Sites = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.attn"),
    "resid_mid": lambda block: ResidualTap(f"{block}.norm1", f"{block}.attn"),
    "mlp_act": lambda block: OutputTap(f"{block}.mlp.act"),
    "mlp_out": lambda block: OutputTap(f"{block}.mlp"),
    "resid_post": OutputTap,
}


def blocks(config: Any) -> Mapping[str, Sequence[str]]:
    """Module paths of every pathway's blocks."""
    florence = config.get_florence_config()
    layers = range(florence.text_config.encoder_layers)
    return {
        "vision": [
            f"{_FLORENCE}.vision_tower.blocks.{stage}.{depth}.{half}_block"
            for stage, depths in enumerate(florence.vision_config.depths)
            for depth in range(depths)
            for half in ("spatial", "channel")
        ],
        "vlm": [f"{_FLORENCE}.language_model.encoder.layers.{i}" for i in layers],
        "trunk": [f"{_TRUNK}.blocks.{i}" for i in range(config.depth)],
    }


def stages(config: Any) -> Sequence[int]:
    """The DaViT stage of every vision block."""
    depths = config.get_florence_config().vision_config.depths
    return [stage for stage, depth in enumerate(depths) for _ in range(2 * depth)]


def taps(config: Any, views: int) -> Mapping[HookPoint, Tap]:
    """Every point of a policy that looks at so many views."""
    where = blocks(config)
    over_windows = block_points("vision", where["vision"], _davit("window_attn", views))
    over_channels = block_points("vision", where["vision"], _davit("channel_attn", views))
    return {
        **{p: tap for p, tap in over_windows.items() if p.layer is not None and p.layer % 2 == 0},
        **{p: tap for p, tap in over_channels.items() if p.layer is not None and p.layer % 2 == 1},
        **block_points("vlm", where["vlm"], _BART),
        **block_points("trunk", where["trunk"], _SOFT_PROMPTED),
        HookPoint("vision", None, "projector"): _of_views(
            OutputTap(f"{_FLORENCE}.multi_modal_projector"), views
        ),
        **{HookPoint("trunk", None, name): tap for name, tap in _joints(config).items()},
    }


def attention_taps(config: Any) -> Mapping[HookPoint, Tap]:
    """Attention of every block of the vlm and of the trunk."""
    where, apart = blocks(config), ("q_proj", "k_proj", "v_proj")
    found = {
        "vlm": [AttentionTap(f"{b}.self_attn", apart, "out_proj") for b in where["vlm"]],
        "trunk": [AttentionTap(f"{b}.attn", ("qkv",), "proj") for b in where["trunk"]],
    }
    return {
        HookPoint(pathway, layer, ATTENTION_SITE): tap
        for pathway, tapped in found.items()
        for layer, tap in enumerate(tapped)
    }


def _joints(config: Any) -> Mapping[str, Tap]:
    """What the trunk's sequence is put together from, and what is read off it."""
    found: dict[str, Tap] = {
        "action_encoder": OutputTap(f"{_TRUNK}.action_encoder"),
        "vlm_proj": OutputTap(f"{_TRUNK}.vlm_proj"),
        "action_head": _written_apart(OutputTap(f"{_TRUNK}.action_decoder")),
    }
    if config.num_image_views > 1:
        found["aux_visual_proj"] = OutputTap(f"{_TRUNK}.aux_visual_proj")
    if config.len_soft_prompts:
        hub = OutputTap(f"{_TRUNK}.soft_prompt_hub")
        found["soft_prompt"] = _end_to_end(hub, config.len_soft_prompts)
    return found
