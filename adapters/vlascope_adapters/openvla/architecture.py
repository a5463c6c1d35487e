"""The sizes of an OpenVLA network, as the `config.json` of a checkpoint gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import LlamaConfig

from vlascope.errors import IncompatibleError

__all__ = ["HORIZON", "Architecture"]

HORIZON = "num_actions_chunk"
"""Our own addition to an OFT's `config.json`: actions in a chunk, which upstream keeps in code."""

_TIMM_IDS = ("vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224")


@dataclass(frozen=True)
class Architecture:
    """What decides the network; the defaults are those of `openvla/openvla-7b`.

    Attributes:
        timm_models: the two vision towers, by timm's names.
        image_size: pixels a side of what they look at.
        text_config: the Llama's sizes where they differ from transformers' defaults. Those are
            the sizes of Llama-2 7B, with one difference: `rms_norm_eps` is 1e-6 and not 1e-5,
            which is what the published checkpoints were trained with.
        n_action_bins: the values an action token can stand for are the spaces between them.
        pad_to_multiple_of: how many rows at the end of the vocabulary stand for nothing; the
            action tokens are the last before them.
        timm_overrides: sizes of the towers where they differ from timm's; our own addition to
            `config.json`, for policies small enough for tests.
    """

    timm_models: tuple[str, ...] = _TIMM_IDS
    image_size: int = 224
    text_config: Mapping[str, Any] = field(
        default_factory=lambda: {"vocab_size": 32064, "pad_token_id": 32000}
    )
    n_action_bins: int = 256
    pad_to_multiple_of: int = 64
    timm_overrides: tuple[Mapping[str, Any], ...] = ({}, {})

    @property
    def llama(self) -> LlamaConfig:
        """The language model's config."""
        left_out = ("model_type", "torch_dtype", "dtype")
        sizes = {name: size for name, size in self.text_config.items() if name not in left_out}
        llama: Any = LlamaConfig(**sizes)
        llama._attn_implementation = "sdpa"
        return llama

    @property
    def first_free_id(self) -> int:
        """The id after the last action token, 32000 in the published checkpoints."""
        return int(self.llama.vocab_size) - self.pad_to_multiple_of

    @classmethod
    def from_config(cls, config: Mapping[str, Any], checkpoint: str) -> Architecture:
        """Read a checkpoint's `config.json`.

        Raises:
            IncompatibleError: it is of another kind of model, or of an OpenVLA that this network
                is not (one vision tower, another language model).
        """
        if config.get("model_type") != "openvla":
            raise IncompatibleError(
                f"{checkpoint} is a {config.get('model_type') or config.get('type')!r} checkpoint, "
                "not 'openvla'; use the adapter of its kind"
            )
        timm_models, sizes = config.get("timm_model_ids", _TIMM_IDS), config.get("image_sizes")
        text = config.get("text_config") or {}
        kind = text.get("model_type", "llama")
        if len(timm_models) != 2 or kind != "llama" or len(set(sizes or [0])) != 1:
            raise IncompatibleError(
                f"{checkpoint} has vision towers {list(timm_models)} at {sizes} pixels and a "
                f"{kind!r} language model; this adapter builds two towers at one size and a Llama"
            )
        default = cls()
        return cls(
            timm_models=tuple(timm_models),
            image_size=(sizes or [default.image_size])[0],
            text_config={**default.text_config, **text},
            n_action_bins=config.get("n_action_bins", default.n_action_bins),
            pad_to_multiple_of=config.get("pad_to_multiple_of", default.pad_to_multiple_of),
            timm_overrides=tuple(config.get("timm_overrides", default.timm_overrides)),
        )

    def to_config(self) -> dict[str, Any]:
        """What `from_config` reads back."""
        return {
            "model_type": "openvla",
            "timm_model_ids": list(self.timm_models),
            "image_sizes": [self.image_size] * len(self.timm_models),
            "text_config": {"model_type": "llama", **self.text_config},
            "n_action_bins": self.n_action_bins,
            "pad_to_multiple_of": self.pad_to_multiple_of,
            "timm_overrides": [dict(sizes) for sizes in self.timm_overrides],
        }
