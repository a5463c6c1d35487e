"""GR00T N1.5's network; its state dict has the names of nvidia/GR00T-N1.5-3B.

Transcribed from NVIDIA/Isaac-GR00T, branch n1.5-release (gr00t_n1.py, eagle_backbone.py,
modeling_eagle2_5_vl.py, flow_matching_action_head.py; Apache 2.0), inference only, on the blocks
of lerobot 0.6.1 and transformers 5. One thing differs: padding is masked, and positions are counted
after it. Upstream lets the action head read padding tokens, so that an action depends on what else
is in the batch; here it is what upstream gives for that row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lerobot.policies.groot.action_head.cross_attention_dit import DiT, SelfAttentionTransformer
from lerobot.policies.groot.groot_n1_7 import CategorySpecificMLP, MultiEmbodimentActionEncoder
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from vlascope_adapters.groot_n15.attention import READABLE, make_readable

__all__ = ["GR00TN15", "LANGUAGE_MODELS"]

LANGUAGE_MODELS: Mapping[str, tuple[Any, Any]] = {
    "Qwen2ForCausalLM": (Qwen2Config, Qwen2ForCausalLM),
    "Qwen3ForCausalLM": (Qwen3Config, Qwen3ForCausalLM),
}
"""The language models that upstream's Eagle can have, by `text_config.architectures`."""


class GR00TN15(nn.Module):
    """Pictures, a prompt, the state and noise to normalised actions.

    Attributes:
        backbone: Eagle 2.5 (SigLIP, projector, Qwen) up to its `select_layer`.
        action_head: self-attention over its tokens, then a diffusion transformer over actions.
    """

    def __init__(
        self, config: Mapping[str, Any], eagle: Mapping[str, Any], *, pooling: bool = True
    ) -> None:
        """Build from the checkpoint's `config.json` and from Eagle's.

        `pooling` is whether the weights hold SigLIP's pooling head, which nothing reads.
        """
        super().__init__()
        self.backbone = _Backbone(config["backbone_cfg"], eagle, pooling)
        self.action_head = _ActionHead(**config["action_head_cfg"])
        make_readable(self)

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        state: Tensor,
        embodiment_id: Tensor,
        noise: Tensor,
    ) -> Tensor:
        """Actions, (batch, horizon, padded action dim), in -1..1.

        Args:
            pixel_values: (batch * views, 3, height, width), a row's views one after the other.
            input_ids: (batch, tokens), padded at the left; image tokens where pictures go.
            attention_mask: (batch, tokens), False at padding.
            state: (batch, 1, padded state dim), normalised.
            embodiment_id: (batch,), which of the projectors to use.
            noise: (batch, horizon, padded action dim).
        """
        tokens = self.backbone(pixel_values, input_ids, attention_mask)
        mask = None if bool(attention_mask.all()) else attention_mask.bool()
        return self.action_head(tokens, mask, state, embodiment_id, noise)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GR00TN15:
        """Move and convert, except that rotary frequencies keep their float32, as upstream."""
        rotary: Any = self.backbone.eagle_model.language_model.model.rotary_emb
        frequencies = rotary.inv_freq
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        rotary.inv_freq = frequencies.to(rotary.inv_freq.device)
        return self


class _Backbone(nn.Module):
    def __init__(self, config: Mapping[str, Any], eagle: Mapping[str, Any], pooling: bool) -> None:
        super().__init__()
        self.eagle_model = _Eagle(eagle, config["select_layer"], pooling)
        width, project_to = eagle["text_config"]["hidden_size"], config.get("project_to_dim")
        self.eagle_linear = nn.Identity() if project_to is None else nn.Linear(width, project_to)

    def forward(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.eagle_linear(self.eagle_model(pixel_values, input_ids, attention_mask))


class _Eagle(nn.Module):
    """Eagle 2.5 VL, its language model cut after `layers`."""

    def __init__(self, config: Mapping[str, Any], layers: int, pooling: bool) -> None:
        super().__init__()
        vision = SiglipVisionConfig(**_plain(config["vision_config"], vision_use_head=pooling))
        make_config, make_model = LANGUAGE_MODELS[config["text_config"]["architectures"][0]]
        cut = {"num_hidden_layers": layers, "tie_word_embeddings": False}
        text = make_config(**_plain(config["text_config"], **cut))
        vision._attn_implementation = text._attn_implementation = READABLE
        self.vision_model, self.language_model = SiglipVisionModel(vision), make_model(text)
        self.image_token: int = config["image_token_index"]
        self.shuffled = round(1 / config["downsample_ratio"]) if config["use_pixel_shuffle"] else 1
        if config["mlp_connector_layers"] == 2:
            width = vision.hidden_size * round(1 / config["downsample_ratio"]) ** 2
            more = [nn.GELU(), nn.Linear(text.hidden_size, text.hidden_size)]
            self.mlp1 = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, text.hidden_size), *more
            )
        else:
            width = vision.hidden_size * self.shuffled**2
            self.mlp1 = nn.Sequential(nn.Linear(width, text.hidden_size))

    def forward(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The language model's tokens after its final norm, (batch, tokens, width)."""
        seen = self._seen(pixel_values)
        words = self.language_model.get_input_embeddings()(input_ids)
        image = (input_ids == self.image_token)[..., None].expand_as(words)
        return self.language_model.model(
            inputs_embeds=words.masked_scatter(image, seen.to(words.dtype)),
            attention_mask=attention_mask,
            position_ids=(attention_mask.cumsum(-1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state

    def _seen(self, pixel_values: Tensor) -> Tensor:
        """Pictures as tokens of the language model, (pictures, tokens, width)."""
        tower = self.vision_model.vision_model
        tokens = tower.encoder(inputs_embeds=tower.embeddings(pixel_values)).last_hidden_state
        return self.mlp1(_pixel_shuffle(tower.post_layernorm(tokens), self.shuffled))


class _SelfAttention(SelfAttentionTransformer):  # type: ignore[misc]
    """lerobot's stack with a mask, (batch, tokens), of the keys that may be read."""

    def forward(self, hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.transformer_blocks:
            hidden_states = block(hidden_states, attention_mask=mask)
        return hidden_states


class _DiT(DiT):  # type: ignore[misc]
    """lerobot's diffusion transformer with a mask of the context's tokens that may be read."""

    def forward(
        self, hidden_states: Tensor, context: Tensor, timestep: Tensor, mask: Tensor | None
    ) -> Tensor:
        condition = self.timestep_encoder(timestep)
        for index, block in enumerate(self.transformer_blocks):
            itself = index % 2 == 1 and self.config.interleave_self_attention
            hidden_states = block(
                hidden_states,
                encoder_hidden_states=None if itself else context,
                encoder_attention_mask=None if itself else mask,
                temb=condition,
            )
        shift, scale = self.proj_out_1(functional.silu(condition)).chunk(2, dim=1)
        hidden_states = self.norm_out(hidden_states) * (1 + scale[:, None]) + shift[:, None]
        return self.proj_out_2(hidden_states)


class _ActionHead(nn.Module):
    def __init__(
        self,
        *,
        diffusion_model_cfg: Mapping[str, Any],
        vl_self_attention_cfg: Mapping[str, Any],
        hidden_size: int,
        input_embedding_dim: int,
        backbone_embedding_dim: int,
        max_state_dim: int,
        action_dim: int,
        action_horizon: int,
        num_inference_timesteps: int,
        max_num_embodiments: int = 32,
        num_target_vision_tokens: int = 32,
        max_seq_len: int = 1024,
        num_timestep_buckets: int = 1000,
        **_training: Any,
    ) -> None:
        super().__init__()
        self.horizon, self.action_dim, self.state_dim = action_horizon, action_dim, max_state_dim
        self.steps, self.buckets = num_inference_timesteps, num_timestep_buckets
        robots, width = max_num_embodiments, input_embedding_dim
        self.model = _DiT(**diffusion_model_cfg)
        self.state_encoder = CategorySpecificMLP(robots, max_state_dim, hidden_size, width)
        self.action_encoder = MultiEmbodimentActionEncoder(action_dim, width, robots)
        self.action_decoder = CategorySpecificMLP(robots, hidden_size, hidden_size, action_dim)
        self.future_tokens = nn.Embedding(num_target_vision_tokens, width)
        self.vlln = nn.LayerNorm(backbone_embedding_dim)
        self.vl_self_attention = _SelfAttention(**vl_self_attention_cfg)
        self.position_embedding = nn.Embedding(max_seq_len, width)

    def forward(
        self, tokens: Tensor, mask: Tensor | None, state: Tensor, robot: Tensor, noise: Tensor
    ) -> Tensor:
        """Follow the flow from noise to actions in `steps` Euler steps."""
        context = self.vl_self_attention(self.vlln(tokens), mask)
        still = torch.cat([self.state_encoder(state, robot), self._future(len(tokens))], dim=1)
        positions = self.position_embedding.weight[: self.horizon]
        actions = noise
        for step in range(self.steps):
            time = torch.full_like(robot, int(step / self.steps * self.buckets))
            moving = self.action_encoder(actions, time, robot) + positions
            out = self.model(torch.cat([still, moving], dim=1), context, time, mask)
            velocity = self.action_decoder(out, robot)[:, -self.horizon :]
            actions = actions + (1 / self.steps) * velocity
        return actions

    def _future(self, rows: int) -> Tensor:
        return self.future_tokens.weight[None].expand(rows, -1, -1)


def _pixel_shuffle(tokens: Tensor, side: int) -> Tensor:
    """Every square of `side` x `side` tokens of a square picture as one token."""
    if side == 1:
        return tokens
    n, height = len(tokens), round(tokens.shape[1] ** 0.5)
    rows = tokens.reshape(n, height, height // side, -1).transpose(1, 2)
    squares = rows.reshape(n, height // side, height // side, -1).transpose(1, 2)
    return squares.flatten(1, 2)


def _plain(config: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
    """A config's own settings, without those of the machine it was saved on, and some changed."""
    left_out = {"torch_dtype", "architectures", "use_cache", *changed}
    kept = {k: v for k, v in config.items() if not k.startswith("_") and k not in left_out}
    return kept | changed
