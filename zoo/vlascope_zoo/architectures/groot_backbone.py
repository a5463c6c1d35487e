"""GR00T's Qwen3-VL at small width: sizes, config, tokenizer and picture processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lerobot.policies.groot.groot_n1_7 import GR00TN17Config
from pydantic import BaseModel, ConfigDict
from transformers import Qwen3VLConfig
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from vlascope_zoo.architectures import words

__all__ = ["BASE", "PIXELS", "VLM", "Sizes", "network", "write_base", "write_vlm"]

BASE, VLM, BACKBONE = "base", "vlm", "Qwen/Qwen3-VL-zoo"
"""Folders of a checkpoint: the base model's config with its backbone's inside, and what reads
words and pictures. The backbone's name has to be one that upstream knows."""

PIXELS, MERGE = 96, 2
_SPECIALS = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
_WHOLE = ("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
)


class Sizes(BaseModel):
    """What a recipe's `sizes` say.

    Attributes:
        patch: pixels a side; the language model reads squares of four.
        vision_width, vision_layers, vision_heads, vision_neurons: of the tower.
        mergers: vision layers that the language model's first layers are also told of.
        width, layers, heads, key_heads, neurons: of the language model.
        stack_layers: of the self-attention stack between language model and expert.
        expert_width, expert_layers, expert_heads: of the diffusion transformer.
        flow_samples: noises drawn for each picture of a batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patch: int = 12
    vision_width: int = 96
    vision_layers: int = 3
    vision_heads: int = 4
    vision_neurons: int = 192
    mergers: tuple[int, ...] = (1,)
    width: int = 128
    layers: int = 3
    heads: int = 4
    key_heads: int = 2
    neurons: int = 256
    stack_layers: int = 2
    expert_width: int = 128
    expert_layers: int = 4
    expert_heads: int = 4
    flow_samples: int = 2

    @property
    def across(self) -> int:
        """Patches a side."""
        return PIXELS // self.patch


def network(sizes: Sizes, horizon: int) -> GR00TN17Config:
    """The published network's shape at these sizes, for one robot of four numbers."""
    attention: dict[str, Any] = {
        "positional_embeddings": None,
        "dropout": 0.0,
        "final_dropout": True,
    }
    return GR00TN17Config(
        architectures=["Gr00tN1d7"],
        model_name=BACKBONE,
        backbone_embedding_dim=sizes.width,
        select_layer=sizes.layers,
        max_state_dim=4,
        max_action_dim=4,
        action_horizon=horizon,
        hidden_size=sizes.expert_width,
        input_embedding_dim=sizes.expert_width,
        max_seq_len=16,
        max_num_embodiments=1,
        state_dropout_prob=0.0,
        tune_llm=True,
        tune_visual=True,
        diffusion_model_cfg=attention
        | {
            "num_layers": sizes.expert_layers,
            "num_attention_heads": sizes.expert_heads,
            "attention_head_dim": sizes.expert_width // sizes.expert_heads,
            "norm_type": "ada_norm",
            "output_dim": sizes.expert_width,
            "interleave_self_attention": True,
        },
        vl_self_attention_cfg=attention
        | {
            "num_layers": sizes.stack_layers,
            "num_attention_heads": sizes.heads,
            "attention_head_dim": sizes.width // sizes.heads,
        },
    )


def write_base(folder: Path, sizes: Sizes, horizon: int) -> None:
    """The base model's `config.json` and, inside, its backbone's."""
    network(sizes, horizon).save_pretrained(folder)
    tokenizer = _tokenizer()
    number: dict[str, Any] = {word: tokenizer.convert_tokens_to_ids(word) for word in _WHOLE}
    head = sizes.width // sizes.heads
    third = head // 6
    config: Any = Qwen3VLConfig
    config(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": sizes.width,
            "intermediate_size": sizes.neurons,
            "num_hidden_layers": sizes.layers,
            "num_attention_heads": sizes.heads,
            "num_key_value_heads": sizes.key_heads,
            "head_dim": head,
            "max_position_embeddings": 1024,
            "rope_theta": 1e4,
            "rope_scaling": {
                "mrope_interleaved": True,
                "mrope_section": [head // 2 - 2 * third, third, third],
                "rope_type": "default",
            },
        },
        vision_config={
            "depth": sizes.vision_layers,
            "hidden_size": sizes.vision_width,
            "intermediate_size": sizes.vision_neurons,
            "num_heads": sizes.vision_heads,
            "out_hidden_size": sizes.width,
            "patch_size": sizes.patch,
            "spatial_merge_size": MERGE,
            "num_position_embeddings": sizes.across**2,
            "deepstack_visual_indexes": list(sizes.mergers),
        },
        image_token_id=number["<|image_pad|>"],
        video_token_id=number["<|video_pad|>"],
        vision_start_token_id=number["<|vision_start|>"],
        vision_end_token_id=number["<|vision_end|>"],
        tie_word_embeddings=True,
    ).save_pretrained(folder / BACKBONE)


def write_vlm(folder: Path, sizes: Sizes) -> None:
    """Tokenizer and picture processor, which a pipeline reads words and pictures with."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer().save_pretrained(folder)
    half: dict[str, Any] = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    patches: dict[str, Any] = {
        "patch_size": sizes.patch,
        "temporal_patch_size": 2,
        "merge_size": MERGE,
        **half,
    }
    between = {"shortest_edge": PIXELS**2, "longest_edge": PIXELS**2}
    Qwen2VLImageProcessor(**patches, size=between).save_pretrained(folder)
    Qwen3VLVideoProcessor(**patches).save_pretrained(folder)


def _tokenizer() -> Any:
    tokenizer = words.tokenizer(_SPECIALS, whole=_WHOLE, begins=False)
    tokenizer.chat_template = _CHAT
    return tokenizer
