"""What OpenVLA and OpenVLA-OFT have in common: sizes, prompts, pictures and how weights begin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from vlascope_adapters.openvla.architecture import Architecture as Shape
from vlascope_adapters.openvla.checkpoint import Release
from vlascope_adapters.openvla.network import OpenVLA
from vlascope_adapters.openvla.preparation import (
    CROPPED_AREA,
    PictureProcessor,
    Prompter,
    through_jpeg,
)
from vlascope_adapters.robots import ROBOTS
from vlascope_zoo.architecture import Moments, Statistics
from vlascope_zoo.architectures import beginnings, words
from vlascope_zoo.architectures.attention import PLAIN

__all__ = [
    "DATASET",
    "ROBOT",
    "Widths",
    "attend_plainly",
    "begin",
    "cropped",
    "release_for",
    "seen",
    "told",
]

DATASET = "metaworld_zoo"
"""The key of the statistics, and what says which robot the numbers are for."""

_PIXELS = 96
ROBOT = ROBOTS["metaworld"].seen_at(_PIXELS, render="fast")

_DINO = ((0.484375, 0.455078125, 0.40625), (0.228515625, 0.2236328125, 0.224609375))
_SIGLIP = ((0.5,) * 3, (0.5,) * 3)
_SPECIALS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_WHOLE = ("\u2581", "In: What action should the robot take to", "?\nOut:")
_BINS, _EMPTY_ROWS = 256, 64
_LAST = ("o_proj.weight", "down_proj.weight", "attn.proj.weight", "mlp.fc2.weight")


class Widths(BaseModel):
    """What a recipe's `sizes` say.

    Attributes:
        patch: pixels a side.
        vision_width, vision_layers, vision_heads: of both towers; the last layer of each is
            computed and not used, as upstream.
        width, layers, heads, neurons: of the language model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patch: int = 16
    vision_width: int = 80
    vision_layers: int = 3
    vision_heads: int = 4
    width: int = 128
    layers: int = 4
    heads: int = 4
    neurons: int = 256


def release_for(widths: Widths, statistics: Statistics) -> Release:
    """All that a checkpoint holds beside its weights; pictures are cropped, as fine-tuned."""
    prompter = Prompter(words.tokenizer(_SPECIALS, whole=_WHOLE).backend_tokenizer)
    means, stds = zip(_DINO, _SIGLIP, strict=True)
    return Release(
        _shape(widths, prompter.tokenizer),
        PictureProcessor(_PIXELS, means, stds, crop=True),
        prompter,
        DATASET,
        {"action": _ranges(statistics.action), "proprio": _ranges(statistics.state)},
    )


def told(release: Release, instructions: Sequence[str]) -> list[Tensor]:
    """Each row's prompt as token ids."""
    ids = {said: torch.tensor(release.prompter(said).ids) for said in set(instructions)}
    return [ids[said] for said in instructions]


def seen(release: Release, pictures: Tensor, generator: torch.Generator) -> Tensor:
    """(batch, 6, size, size): compressed as upstream's data were, cropped at random."""
    stored = np.stack([through_jpeg(picture) for picture in pictures.numpy()])
    pixels = torch.from_numpy(stored).permute(0, 3, 1, 2).float() / 255
    cut = cropped(pixels, torch.rand(len(pixels), 2, generator=generator))
    prepared = release.pictures
    return torch.cat(
        [
            (cut - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
            for mean, std in zip(prepared.means, prepared.stds, strict=True)
        ],
        dim=1,
    )


def cropped(pixels: Tensor, where: Tensor, area: float = CROPPED_AREA) -> Tensor:
    """A part of each square picture, (batch, 3, size, size), enlarged to its size.

    Args:
        pixels: float32.
        where: (batch, 2), of the part's upper left corner, across and down, 0 to 1; 0.5 is the
            middle, which the policy looks at when it acts.
        area: the part's.
    """
    side = math.sqrt(area)
    start = where * (1 - side)
    along = torch.linspace(0, 1, pixels.shape[-1]) * side
    places = 2 * (start[:, :, None] + along) - 1
    across, down = places[:, 0, None, :], places[:, 1, :, None]
    size = pixels.shape[-1]
    grid = torch.stack([across.expand(-1, size, -1), down.expand(-1, -1, size)], dim=-1)
    return functional.grid_sample(pixels, grid, align_corners=True)


def begin(network: OpenVLA, widths: Widths, statistics: Statistics) -> None:
    """Weights that pass signals on, layer scales of one, and places known from the start.

    Upstream starts from trained towers and a trained Llama; its layer scales of 1e-5 would take
    as many steps to grow as there are here in all.
    """
    beginnings.draw(network, _LAST, widths.layers)
    network.language_model.get_input_embeddings().weight.normal_(std=0.5)
    across = _PIXELS // widths.patch
    places = beginnings.sines_2d(across, across, widths.vision_width)
    for tower, (means, stds) in zip(
        network.vision_backbone.towers.values(), (_DINO, _SIGLIP), strict=True
    ):
        mean, std = fmean(means), fmean(stds)
        filters, bias = beginnings.patch_filters(
            statistics.pixels, widths.patch, widths.vision_width, scale=std, mean=mean
        )
        tower.patch_embed.proj.weight.copy_(filters)
        tower.patch_embed.proj.bias.copy_(bias)
        tower.pos_embed.copy_(places[None])
        for block in tower.blocks:
            for scale in (block.ls1, block.ls2):
                if hasattr(scale, "scale_factor"):
                    scale.scale_factor.fill_(1.0)


def attend_plainly(network: OpenVLA) -> None:
    """The same numbers as the fused kernel's, faster to train on a CPU."""
    network.language_model.config._attn_implementation = PLAIN
    for tower in network.vision_backbone.towers.values():
        for block in tower.blocks:
            block.attn.fused_attn = False


def _shape(widths: Widths, tokenizer: Tokenizer) -> Shape:
    tower = {
        "patch_size": widths.patch,
        "embed_dim": widths.vision_width,
        "depth": widths.vision_layers,
        "num_heads": widths.vision_heads,
        "mlp_ratio": 2.0,
    }
    return Shape(
        image_size=_PIXELS,
        text_config={
            "vocab_size": tokenizer.get_vocab_size() + _BINS + _EMPTY_ROWS,
            "pad_token_id": tokenizer.get_vocab_size() + _BINS,
            "hidden_size": widths.width,
            "intermediate_size": widths.neurons,
            "num_hidden_layers": widths.layers,
            "num_attention_heads": widths.heads,
            "num_key_value_heads": widths.heads,
        },
        timm_overrides=(tower, tower),
    )


def _ranges(moments: Moments) -> dict[str, list[Any]]:
    """What `dataset_statistics.json` keeps of one kind of numbers; all of them are scaled."""
    kept: dict[str, list[Any]] = {name: moments[name].tolist() for name in moments}
    return {**kept, "mask": [True] * len(kept["mean"])}
