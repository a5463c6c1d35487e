"""SmolVLA: lerobot's `SmolVLAPolicy` around a narrow SmolVLM2."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from torch import Tensor, nn

from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.lerobot.smolvla_built import MARKS, quietly, write_backbone
from vlascope_adapters.offline import seeded
from vlascope_zoo.architecture import Architecture, Batch, Statistics
from vlascope_zoo.architectures import beginnings, saving
from vlascope_zoo.architectures.words import tokenizer
from vlascope_zoo.features import dataset_statistics, features, lerobot_batch
from vlascope_zoo.recipe import Recipe

__all__ = ["SmolVLA"]

_BRANCHES = (
    "self_attn.out_proj.weight",
    "mlp.fc2.weight",
    "self_attn.o_proj.weight",
    "mlp.down_proj.weight",
)


class SmolVLA(Architecture):
    """`sizes` are `vision` and `text` (fields of SmolVLM2's configs), `scale_factor`, `policy`.

    `policy` holds fields of upstream's `SmolVLAConfig`. Nothing is frozen: there is no
    pre-trained backbone to keep.
    """

    def build(self, recipe: Recipe, statistics: Statistics, folder: Path) -> nn.Module:
        """A SigLIP, a SmolLM2 and an expert that reads every layer of it."""
        backbone = _backbone(recipe, folder / "vlm")
        config = SmolVLAConfig(
            **features(),
            device="cpu",
            vlm_model_name=str(backbone),
            load_vlm_weights=False,
            freeze_vision_encoder=False,
            train_expert_only=False,
            resize_imgs_with_padding=(96, 96),
            num_vlm_layers=recipe.sizes["text"]["num_hidden_layers"],
            chunk_size=recipe.horizon,
            n_action_steps=recipe.executed,
            max_state_dim=4,
            max_action_dim=4,
            **recipe.sizes["policy"],
        )
        pipelines = make_smolvla_pre_post_processors(config, dataset_statistics(statistics))
        self._processors = Processors(*pipelines)
        with seeded(recipe.seed), quietly():
            policy = SmolVLAPolicy(config)
            _begin(policy, statistics)
        return policy

    def loss(self, policy: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Flow matching; upstream masks the padding."""
        loss, _ = policy(self._processors.before(lerobot_batch(batch)))
        return loss

    def save(self, policy: nn.Module, folder: Path) -> None:
        """Config, half-precision weights and pipelines, beside the backbone's folder `vlm`.

        What is kept names that folder as it lies, not where it lay while training.
        """
        saving.write(policy, self._processors, folder)
        for name in ("config.json", "policy_preprocessor.json"):
            file = folder / name
            file.write_text(file.read_text().replace(str(folder / "vlm"), "vlm"))


def _backbone(recipe: Recipe, folder: Path) -> Path:
    """What upstream reads of a SmolVLM2, at the recipe's sizes and with the zoo's words."""
    plain = tokenizer({"pad_token": MARKS[0]}, whole=MARKS[1:], begins=False).backend_tokenizer
    text = {
        "vocab_size": plain.get_vocab_size(),
        "max_position_embeddings": 512,
        **recipe.sizes["text"],
    }
    sizes = {
        "scale_factor": recipe.sizes["scale_factor"],
        "text_config": text,
        "vision_config": {"image_size": 96, **recipe.sizes["vision"]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    return write_backbone(folder, sizes, plain)


@torch.no_grad()
def _begin(policy: Any, statistics: Statistics) -> None:
    """Unit gains, places known from the start, filters fitted to pictures.

    Upstream multiplies what enters the language model by the root of its width.
    """
    network = policy.model.vlm_with_expert
    beginnings.draw(policy, _BRANCHES, network.num_vlm_layers)
    vision = network.vlm.model.vision_model.embeddings
    rows = math.isqrt(vision.num_patches)
    places = beginnings.sines_2d(rows, rows, vision.embed_dim)
    vision.position_embedding.weight.copy_(places)
    weight, bias = beginnings.patch_filters(statistics.pixels, vision.patch_size, vision.embed_dim)
    vision.patch_embedding.weight.copy_(weight)
    vision.patch_embedding.bias.copy_(bias)
    width = network.config.text_config.hidden_size
    network.vlm.model.connector.modality_projection.proj.weight /= math.sqrt(width)
