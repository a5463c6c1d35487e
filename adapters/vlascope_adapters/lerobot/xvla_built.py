"""X-VLA built from nothing: at toy width with random weights, and at its published size."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.xvla.configuration_xvla import XVLAConfig
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from lerobot.policies.xvla.processor_xvla import make_xvla_pre_post_processors
from transformers import PreTrainedTokenizerFast

from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.lerobot.policy import STATE
from vlascope_adapters.robots import Robot

__all__ = ["TINY", "at_real_size", "tiny_policy", "tiny_tokenizer"]

_FLORENCE_TINY: dict[str, Any] = {
    "vision_config": {
        "model_type": "davit",
        "drop_path_rate": 0.0,
        "patch_size": [7, 3, 3, 3],
        "patch_stride": [4, 2, 2, 2],
        "patch_padding": [3, 1, 1, 1],
        "patch_prenorm": [False, True, True, True],
        "dim_embed": [16, 24, 32, 48],
        "num_heads": [2, 2, 2, 4],
        "num_groups": [2, 2, 2, 4],
        "depths": [1, 1, 1, 1],
        "window_size": 4,
        "projection_dim": 64,
        "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": 100},
        "image_pos_embed": {"type": "learned_abs_2d", "max_pos_embeddings": 50},
        "image_feature_source": ["spatial_avg_pool", "temporal_avg_pool"],
    },
    "text_config": {
        "model_type": "florence2_language",
        "vocab_size": 384,
        "d_model": 64,
        "encoder_layers": 2,
        "decoder_layers": 1,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128,
        "max_position_embeddings": 128,
        "activation_function": "gelu",
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    },
    "projection_dim": 64,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "is_encoder_decoder": True,
}
TINY: dict[str, Any] = {
    "device": "cpu",
    "florence_config": _FLORENCE_TINY,
    "tokenizer_max_length": 16,
    "hidden_size": 64,
    "depth": 2,
    "num_heads": 4,
    "mlp_ratio": 2.0,
    "num_domains": 5,
    "len_soft_prompts": 4,
    "dim_time": 16,
    "max_len_seq": 96,
    "max_state_dim": 20,
    "chunk_size": 10,
    "n_action_steps": 5,
    "resize_imgs_with_padding": (64, 64),
    "empty_cameras": 1,
}
"""What every toy X-VLA is made of; features and the kind of action are to be added."""


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A small tokenizer with BART's special tokens in BART's places."""
    specials = ("<s>", "<pad>", "</s>", "<unk>")
    return tiny.byte_tokenizer(specials, bos="<s>", pad="<pad>", eos="</s>", unk="<unk>")


def tiny_policy(seed: int) -> tuple[Any, Processors, Robot]:
    """The upstream policy with random weights, its pipelines, and the robot it is for."""
    config = XVLAConfig(**tiny.features(), **TINY, action_mode="auto")
    with tiny.seeded(seed):
        policy = XVLAPolicy(config)
    with tempfile.TemporaryDirectory() as folder:
        tiny_tokenizer().save_pretrained(folder)
        config.tokenizer_name = folder
        pipelines = make_xvla_pre_post_processors(config, tiny.statistics(seed))
    config.tokenizer_name = XVLAConfig.tokenizer_name
    return policy, Processors(*pipelines), tiny.ROBOT


def at_real_size() -> Any:
    """The published LIBERO configuration on the meta device: shapes only.

    Florence-2-large without its decoder, under a trunk of upstream's default size.
    """
    florence = {
        "vision_config": {
            **_FLORENCE_TINY["vision_config"],
            "dim_embed": [256, 512, 1024, 2048],
            "num_heads": [8, 16, 32, 64],
            "num_groups": [8, 16, 32, 64],
            "depths": [1, 1, 9, 1],
            "window_size": 12,
            "projection_dim": 1024,
        },
        "text_config": {
            **_FLORENCE_TINY["text_config"],
            "vocab_size": 51289,
            "d_model": 1024,
            "encoder_layers": 12,
            "decoder_layers": 12,
            "encoder_attention_heads": 16,
            "decoder_attention_heads": 16,
            "encoder_ffn_dim": 4096,
            "decoder_ffn_dim": 4096,
            "max_position_embeddings": 4096,
        },
    }
    picture = PolicyFeature(FeatureType.VISUAL, (3, 256, 256))
    config = XVLAConfig(
        input_features={
            "observation.images.image": picture,
            "observation.images.image2": picture,
            STATE: PolicyFeature(FeatureType.STATE, (8,)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (20,))},
        florence_config={**_FLORENCE_TINY, **florence},
        device="cpu",
        chunk_size=30,
        n_action_steps=30,
        max_state_dim=20,
        resize_imgs_with_padding=(224, 224),
        empty_cameras=1,
    )
    with torch.device("meta"):
        return XVLAPolicy(config)
