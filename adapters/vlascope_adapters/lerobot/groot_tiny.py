"""GR00T at toy width: upstream's classes, random weights, a tokenizer made on the spot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lerobot.policies.groot.configuration_groot import GrootConfig
from lerobot.policies.groot.groot_n1_7 import CategorySpecificLinear, GR00TN17Config
from lerobot.policies.groot.processor_groot import (
    GrootN17VLMEncodeStep,
    _build_n1_7_processor,
    make_groot_pre_post_processors,
)
from torch import nn
from transformers import Qwen3VLConfig
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.lerobot.groot_built import built

__all__ = ["make", "network", "see_small", "write_backbone"]

_SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
)
_WIDTH, _VISION_WIDTH, _LAYERS = 64, 48, 3
_EMBODIMENTS = 11  # upstream's "new_embodiment" is number 10


def make(
    seed: int,
    features: Mapping[str, Any] | None = None,
    statistics: Mapping[str, Any] | None = None,
) -> tuple[Any, Processors]:
    """A policy of three vision blocks, three language layers, two and four transformer blocks."""
    config = GrootConfig(
        **(features or tiny.features()),
        device="cpu",
        base_model_path="base",
        use_bf16=False,
        chunk_size=10,
        n_action_steps=10,
        max_state_dim=8,
        max_action_dim=8,
    )
    with TemporaryDirectory() as folder:
        backbone = write_backbone(Path(folder))
        with tiny.seeded(seed):
            policy = built(config, network(backbone))
            _enliven(policy)
        pipelines = make_groot_pre_post_processors(config, statistics or tiny.statistics(seed))
        see_small(pipelines[0], backbone)
    return policy, Processors(*pipelines)


def see_small(before: Any, backbone: str) -> None:
    """Let a pipeline look at pictures of 96 pixels through a backbone's picture processor."""
    for step in before.steps:
        if isinstance(step, GrootN17VLMEncodeStep):
            step.image_target_size, step.image_crop_size = [96, 96], [86, 86]
            step._proc = _build_n1_7_processor(backbone)


def network(backbone: str) -> GR00TN17Config:
    """The published network's shape, made narrow and short."""
    attention: dict[str, Any] = {
        "positional_embeddings": None,
        "num_attention_heads": 4,
        "attention_head_dim": _WIDTH // 4,
        "dropout": 0.2,
        "final_dropout": True,
    }
    return GR00TN17Config(
        architectures=["Gr00tN1d7"],
        model_name=backbone,
        backbone_embedding_dim=_WIDTH,
        select_layer=_LAYERS,
        max_state_dim=8,
        max_action_dim=8,
        action_horizon=10,
        hidden_size=_VISION_WIDTH,
        input_embedding_dim=_WIDTH,
        max_seq_len=16,
        max_num_embodiments=_EMBODIMENTS,
        diffusion_model_cfg=attention
        | {
            "num_layers": 4,
            "norm_type": "ada_norm",
            "output_dim": _VISION_WIDTH,
            "interleave_self_attention": True,
        },
        vl_self_attention_cfg=attention | {"num_layers": 2},
    )


def write_backbone(inside: Path) -> str:
    """A Qwen3-VL's config, tokenizer and picture processor, as the hub has them; the folder."""
    folder = inside / "Qwen" / "Qwen3-VL-tiny"  # a name that upstream knows
    tokenizer = tiny.byte_tokenizer(_SPECIALS, eos="<|im_end|>", pad="<|endoftext|>")
    tokenizer.chat_template = _CHAT
    number: dict[str, Any] = {word: tokenizer.convert_tokens_to_ids(word) for word in _SPECIALS}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": _LAYERS + 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 1024,
        "rope_theta": 5e6,
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [4, 2, 2],
            "rope_type": "default",
        },
    }
    vision = {
        "depth": 3,
        "hidden_size": _VISION_WIDTH,
        "intermediate_size": 2 * _VISION_WIDTH,
        "num_heads": 4,
        "out_hidden_size": _WIDTH,
        "num_position_embeddings": 36,
        "deepstack_visual_indexes": [0, 1],
    }
    config: Any = Qwen3VLConfig
    config(
        text_config=text,
        vision_config=vision,
        image_token_id=number["<|image_pad|>"],
        video_token_id=number["<|video_pad|>"],
        vision_start_token_id=number["<|vision_start|>"],
        vision_end_token_id=number["<|vision_end|>"],
        tie_word_embeddings=True,
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    patches: dict[str, Any] = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    between = {"shortest_edge": 32 * 32, "longest_edge": 256 * 256}
    Qwen2VLImageProcessor(**patches, size=between).save_pretrained(folder)
    Qwen3VLVideoProcessor(**patches).save_pretrained(folder)
    return str(folder)


@torch.no_grad()
def _enliven(policy: Any) -> None:
    """Weights that keep their input's size, so that everything reaches the action."""
    for module in policy.modules():
        if isinstance(module, nn.Embedding):
            module.weight.normal_(std=0.5)
        elif isinstance(module, CategorySpecificLinear):
            module.W.normal_(std=module.W.shape[1] ** -0.5)
        elif isinstance(module, nn.Linear | nn.Conv3d):
            module.weight.normal_(std=module.weight[0].numel() ** -0.5)
    for block in policy._groot_model.action_head.model.transformer_blocks:
        for sharp in (block.attn1.to_q, block.attn1.to_k):  # the state is one token of eleven
            sharp.weight.mul_(3)
