"""X-VLA at small width: lerobot's `XVLAPolicy`, with actions as they come and one domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import NormalizationMode
from lerobot.policies.xvla.configuration_xvla import XVLAConfig
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from lerobot.policies.xvla.processor_xvla import make_xvla_pre_post_processors
from lerobot.policies.xvla.soft_transformer import DomainAwareLinear
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.offline import seeded
from vlascope_zoo.architecture import Architecture, Batch, Statistics
from vlascope_zoo.architectures import beginnings, saving, words
from vlascope_zoo.architectures.attention import plainly
from vlascope_zoo.features import dataset_statistics, features, lerobot_batch
from vlascope_zoo.recipe import Recipe

__all__ = ["XVLA"]

_SPECIALS = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
"""BART's, in BART's places."""
_LAST = (".out_proj.weight", ".fc2.weight", ".proj.weight", ".conv1.weight", ".conv2.weight")
_IMAGENET = {"mean": 0.45, "scale": 0.225}


class _Sizes(BaseModel):
    """What a recipe says.

    Attributes:
        vision: DaViT's lists, one entry a stage, in Microsoft's words, and `window_size`.
        text: of BART's encoder.
        trunk: fields of upstream's `XVLAConfig`.
        prompt: tokens of a padded prompt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vision: dict[str, Any]
    text: dict[str, int]
    trunk: dict[str, Any]
    prompt: int

    def florence(self, vocabulary: int) -> dict[str, Any]:
        """Upstream's `florence_config`. X-VLA throws the decoder away."""
        width = self.text["d_model"]
        ends = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
        heads = self.text["encoder_attention_heads"]
        return {
            "vision_config": {
                "model_type": "davit",
                "drop_path_rate": 0.0,
                "projection_dim": width,
                "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": 100},
                "image_pos_embed": {"type": "learned_abs_2d", "max_pos_embeddings": 50},
                "image_feature_source": ["spatial_avg_pool", "temporal_avg_pool"],
                **self.vision,
            },
            "text_config": {
                "model_type": "florence2_language",
                "vocab_size": vocabulary,
                "decoder_layers": 1,
                "decoder_attention_heads": heads,
                "decoder_ffn_dim": width,
                "activation_function": "gelu",
                "dropout": 0.0,
                **self.text,
                **ends,
            },
            "projection_dim": width,
            "is_encoder_decoder": True,
            **ends,
        }


class XVLA(Architecture):
    """Action mode `auto` takes any four numbers and is trained by their squared error.

    State and actions are normalised by the pipeline, which upstream leaves to its scaled losses
    of poses. There is one robot, so one domain, 0. The trunk's dropout, a number in upstream's
    code, is off: so small a network underfits.
    """

    processors: Processors
    tokenizer: PreTrainedTokenizerFast

    def build(self, recipe: Recipe, statistics: Statistics, folder: Path) -> nn.Module:
        """Unit gain everywhere, places of patches known, patches as pictures have them."""
        told = _Sizes.model_validate(recipe.sizes)
        self.tokenizer = words.tokenizer(_SPECIALS, ends=True)
        self.tokenizer.save_pretrained(folder)
        config = XVLAConfig(
            **features(),
            device="cpu",
            florence_config=told.florence(len(self.tokenizer)),
            tokenizer_name=str(folder),
            tokenizer_max_length=told.prompt,
            action_mode="auto",
            max_action_dim=4,
            max_state_dim=4,
            num_domains=1,
            chunk_size=recipe.horizon,
            n_action_steps=recipe.executed,
            normalization_mapping={
                "VISUAL": NormalizationMode.IDENTITY,
                "STATE": NormalizationMode.MEAN_STD,
                "ACTION": NormalizationMode.MEAN_STD,
            },
            **told.trunk,
        )
        with seeded(recipe.seed):
            policy = XVLAPolicy(config)
            _begin(policy.model, told, statistics)
        pipelines = make_xvla_pre_post_processors(config, dataset_statistics(statistics))
        self.processors = Processors(*pipelines)
        for named in (config, *(s for s in pipelines[0].steps if hasattr(s, "tokenizer_name"))):
            named.tokenizer_name = XVLAConfig.tokenizer_name  # as on the hub; ours lies beside
        return policy

    def loss(self, policy: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The squared error of clean actions; where none exists, the answer is taken as right."""
        upstream: Any = policy
        ready = self.processors.before(lerobot_batch(batch))
        exists = batch.valid[..., None]

        def spared(_: Any, __: Any, said: Tensor) -> Tensor:
            return torch.where(exists, said.float(), ready["action"])

        handle = upstream.model.transformer.register_forward_hook(spared)
        try:
            with plainly():
                loss: Tensor = upstream(ready)[0]
        finally:
            handle.remove()
        return loss / batch.valid.float().mean()

    def save(self, policy: nn.Module, folder: Path) -> None:
        """As lerobot does; the tokenizer lies beside."""
        saving.write(policy, self.processors, folder)
        self.tokenizer.save_pretrained(folder)


@torch.no_grad()
def _begin(network: Any, told: _Sizes, statistics: Statistics) -> None:
    """Weights to begin with, from torch's generator."""
    trunk, florence = network.transformer, network.vlm
    for part in trunk.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    beginnings.draw(florence, _LAST, told.text["encoder_layers"])
    beginnings.draw(trunk, _LAST, len(trunk.blocks))
    for layer in (m for m in trunk.modules() if isinstance(m, DomainAwareLinear)):
        layer.fc.weight.normal_(std=layer.input_size**-0.5)
    trunk.action_decoder.fc.weight.mul_(0.1)
    trunk.soft_prompt_hub.weight.normal_(std=0.5)
    length = trunk.pos_emb.shape[1]
    width = trunk.hidden_size
    trunk.pos_emb.copy_(beginnings.sines(torch.arange(length), width, longest=4.0 * length)[None])
    stem = florence.vision_tower.convs[0].conv
    if stem.kernel_size == stem.stride:
        weight, bias = beginnings.patch_filters(
            statistics.pixels, stem.kernel_size[0], stem.out_channels, **_IMAGENET
        )
        stem.weight.copy_(weight)
        stem.bias.copy_(bias)
    projector = florence.multi_modal_projector
    places = projector.image_position_embed
    rows, half = places.row_embeddings.weight, places.column_embeddings.weight
    side = 6.0
    rows.copy_(beginnings.sines(torch.arange(len(rows)), rows.shape[1], longest=4 * side))
    half.copy_(beginnings.sines(torch.arange(len(half)), half.shape[1], longest=4 * side))
    positions = florence.language_model.encoder.embed_positions.weight
    told_places = torch.arange(len(positions))
    positions.copy_(beginnings.sines(told_places, positions.shape[1], longest=4.0 * len(positions)))
    florence.language_model.shared.weight.normal_()
