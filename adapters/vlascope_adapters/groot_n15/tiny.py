"""GR00T N1.5 at toy width: random weights, made-up statistics, an Eagle built here."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vlascope_adapters.groot_n15.checkpoint import Parts
from vlascope_adapters.groot_n15.eagle import Eagle
from vlascope_adapters.groot_n15.embodiment import Embodiment, Scale
from vlascope_adapters.groot_n15.network import GR00TN15
from vlascope_adapters.lerobot.tiny import ROBOT, byte_tokenizer, seeded

__all__ = ["CONFIG", "ROBOT", "TOKENS", "eagle_config", "tiny_parts"]

TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")

CONFIG: dict[str, Any] = {
    "model_type": "gr00t_n1_5",
    "architectures": ["GR00T_N1_5"],
    "action_dim": 32,
    "action_horizon": 16,
    "backbone_cfg": {"project_to_dim": None, "select_layer": 3},
    "action_head_cfg": {
        "action_dim": 8,
        "action_horizon": 16,
        "backbone_embedding_dim": 64,
        "hidden_size": 48,
        "input_embedding_dim": 64,
        "max_num_embodiments": 32,
        "max_state_dim": 16,
        "num_inference_timesteps": 4,
        "num_target_vision_tokens": 8,
        "num_timestep_buckets": 1000,
        "max_seq_len": 64,
        "diffusion_model_cfg": {
            "attention_head_dim": 16,
            "cross_attention_dim": 64,
            "dropout": 0.2,
            "final_dropout": True,
            "interleave_self_attention": True,
            "norm_type": "ada_norm",
            "num_attention_heads": 4,
            "num_layers": 4,
            "output_dim": 48,
            "positional_embeddings": None,
        },
        "vl_self_attention_cfg": {
            "attention_head_dim": 16,
            "dropout": 0.2,
            "final_dropout": True,
            "num_attention_heads": 4,
            "num_layers": 2,
            "positional_embeddings": None,
        },
    },
}
"""`config.json` of a checkpoint as small as can be."""

_GAINS = {"state_encoder": 4.0, "action_encoder": 0.5, "action_decoder": 0.6}
"""How much louder than its input an output is, by module; 1.5 elsewhere."""


def eagle_config(vocabulary: int, image_token: int) -> dict[str, Any]:
    """Eagle's `config.json` at toy width."""
    return {
        "model_type": "eagle_2_5_vl",
        "downsample_ratio": 0.5,
        "image_token_index": image_token,
        "mlp_connector_layers": 1,
        "select_layer": -1,
        "use_pixel_shuffle": False,
        "text_config": {
            "architectures": ["Qwen3ForCausalLM"],
            "head_dim": 16,
            "hidden_size": 64,
            "intermediate_size": 128,
            "max_position_embeddings": 512,
            "num_attention_heads": 4,
            "num_hidden_layers": 4,
            "num_key_value_heads": 2,
            "rope_theta": 1000000,
            "tie_word_embeddings": True,
            "vocab_size": vocabulary,
        },
        "vision_config": {
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 32,
            "image_size": 56,
            "intermediate_size": 64,
            "model_type": "siglip_vision_model",
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "patch_size": 14,
        },
    }


def tiny_parts(seed: int) -> Parts:
    """A policy of about 1.2 M parameters on MetaWorld's robot."""
    tokenizer = byte_tokenizer(TOKENS, eos="<|im_end|>", pad="<|endoftext|>")
    image = TOKENS.index("<IMG_CONTEXT>")
    half = (0.5, 0.5, 0.5)
    eagle = Eagle(eagle_config(-(-len(tokenizer) // 8) * 8, image), tokenizer, 56, half, half)
    with seeded(seed):
        network = GR00TN15(CONFIG, eagle.config)
        _enliven(network)
        state, action = (_scale(dim) for dim in (ROBOT.state_dim, ROBOT.action.dim))
    camera = next(iter(ROBOT.cameras))
    return Parts(network, eagle, Embodiment("new_embodiment", state, action, (camera,)))


def _enliven(network: nn.Module) -> None:
    """Wider weights than a training starts from, so that every input reaches the actions."""
    for path, module in network.named_modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.ndim == 1:
                continue
            inputs = weight.shape[-2] if name == "W" else weight[0].numel()
            gain = next((gain for part, gain in _GAINS.items() if part in path), 1.5)
            spread = 0.5 if isinstance(module, nn.Embedding) else gain / inputs**0.5
            nn.init.normal_(weight, std=spread)


def _scale(dim: int) -> Scale:
    zero = -0.5 - torch.rand(dim)
    return Scale(zero, 1 + torch.rand(dim), torch.zeros(dim, dtype=torch.bool))
