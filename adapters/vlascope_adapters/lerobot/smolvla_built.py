"""SmolVLA built without the hub: at toy width, and at the published size on the meta device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from tokenizers import Tokenizer
from tokenizers.processors import ByteLevel
from torch import nn
from transformers import PreTrainedTokenizerFast, SmolVLMConfig, SmolVLMProcessor
from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.checkpoint import Processors

__all__ = ["MARKS", "at_real_size", "quietly", "tiny_config", "tiny_policy", "write_backbone"]

_END = "<|im_end|>"
_MARKS = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}
MARKS = (_END, *_MARKS.values())
"""Tokens that upstream looks up by name."""
_TINY: Mapping[str, Any] = {
    "scale_factor": 2,
    "text_config": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "vocab_size": 336,
    },
    "vision_config": {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 16,
    },
}
_PUBLISHED: Mapping[str, Any] = {
    "scale_factor": 4,
    "text_config": {
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "head_dim": 64,
        "max_position_embeddings": 8192,
        "vocab_size": 49280,
    },
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 512,
        "patch_size": 16,
    },
}
"""SmolVLM2-500M-Video-Instruct: SigLIP-B/16 at 512 px, SmolLM2-360M, 64 tokens a picture."""

_SPREAD = 3.0


def tiny_policy(seed: int, **changes: Any) -> tuple[Any, Processors]:
    """The upstream policy and pipelines at toy width, weights drawn from `seed`.

    Weights are spread wider than at upstream's initialisation, where attention looks everywhere
    alike and every picture means the same.
    """
    with TemporaryDirectory() as folder:
        config = tiny_config(write_backbone(Path(folder)), **changes)
        with tiny.seeded(seed), quietly():
            policy = SmolVLAPolicy(config)
        pipelines = make_smolvla_pre_post_processors(config, tiny.statistics(seed))
    for module in policy.model.vlm_with_expert.modules():
        if isinstance(module, nn.Linear):
            module.weight.data *= _SPREAD
    return policy, Processors(*pipelines)


def tiny_config(backbone: Path, **changes: Any) -> SmolVLAConfig:
    """Four of the five language layers, four expert layers, ten actions in four steps."""
    chosen: dict[str, Any] = {
        **tiny.features(),
        "device": "cpu",
        "vlm_model_name": str(backbone),
        "load_vlm_weights": False,
        "resize_imgs_with_padding": (64, 64),
        "num_vlm_layers": 4,
        "chunk_size": 10,
        "n_action_steps": 5,
        "num_steps": 4,
        "max_state_dim": 8,
        "max_action_dim": 8,
    }
    return SmolVLAConfig(**{**chosen, **changes})


def at_real_size() -> Any:
    """The published policy on the meta device: shapes only."""
    with TemporaryDirectory() as folder:
        backbone = write_backbone(Path(folder), _PUBLISHED)
        config = SmolVLAConfig(
            **tiny.features(), device="cpu", vlm_model_name=str(backbone), load_vlm_weights=False
        )
        with torch.device("meta"), quietly():
            return SmolVLAPolicy(config)


def write_backbone(
    folder: Path, sizes: Mapping[str, Any] = _TINY, plain: Tokenizer | None = None
) -> Path:
    """Write what upstream reads of a SmolVLM2: its config, tokenizer and processors, no weights.

    `plain` is a tokenizer that knows `MARKS`; by default bytes and a few words.
    """
    tokenizer = _tokenizer(plain or tiny.byte_tokenizer(MARKS).backend_tokenizer)
    pad = tokenizer.convert_tokens_to_ids(_END)
    side = sizes["vision_config"]["image_size"]
    values: dict[str, Any] = {
        **sizes,
        "text_config": {**sizes["text_config"], "pad_token_id": pad},
        "image_token_id": tokenizer.convert_tokens_to_ids(_MARKS["image_token"]),
        "pad_token_id": pad,
        "tie_word_embeddings": False,
    }
    SmolVLMConfig(**values).save_pretrained(folder)
    longest: dict[str, Any] = {
        "size": {"longest_edge": side},
        "max_image_size": {"longest_edge": side},
    }
    SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(**longest),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(**longest),
        image_seq_len=(side // sizes["vision_config"]["patch_size"] // sizes["scale_factor"]) ** 2,
        chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}",
    ).save_pretrained(folder)
    return folder


def _tokenizer(plain: Tokenizer) -> Any:
    """A tokenizer with the marks that upstream looks up; no text starts with a mark."""
    plain.post_processor = ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token=_END, extra_special_tokens=_MARKS
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Keep upstream's remarks on how many layers it keeps off the standard output."""
    with redirect_stdout(StringIO()):
        yield
