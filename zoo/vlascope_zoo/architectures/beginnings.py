"""Weights to begin with: places and numbers known from the start, patches as pictures have them.

Published policies begin with a pre-trained backbone, which knows all of this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["draw", "patch_filters", "sines", "sines_2d"]


@torch.no_grad()
def draw(network: nn.Module, last: Sequence[str], depth: int) -> None:
    """Matrices of unit gain from torch's generator; those that end a branch of a block, less.

    Args:
        network: what to draw.
        last: endings of the names of the matrices that write to the residual stream.
        depth: blocks in a stack; the branches of all together are to be as large as one.
    """
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2:
            continue
        gain = 1 / math.sqrt(2 * depth) if name.endswith(tuple(last)) else 1.0
        parameter.normal_(std=gain / math.sqrt(parameter[0].numel()))


def sines(values: Tensor, width: int, *, longest: float) -> Tensor:
    """Numbers as sines and cosines, float32 (count, width), of unit mean square.

    Wave lengths go from `longest` (in the values' unit) down to a 64th of it, evenly in log.
    """
    half = width // 2
    lengths = longest * 64 ** -torch.linspace(0, 1, half)
    angles = 2 * math.pi * values.float()[:, None] / lengths
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    return math.sqrt(2) * nn.functional.pad(waves, (0, width - 2 * half))


def sines_2d(rows: int, columns: int, width: int) -> Tensor:
    """Where each patch is, float32 (rows * columns, width), row by row: half says which row."""
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    half = width // 2
    told = [
        sines(down.flatten(), half, longest=4.0 * rows),
        sines(across.flatten(), width - half, longest=4.0 * columns),
    ]
    return torch.cat(told, dim=1)


def patch_filters(
    pixels: Tensor, size: int, width: int, *, scale: float = 0.5, mean: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Weights (width, 3, size, size) and bias (width,) of a first convolution fitted to pictures.

    Its outputs are the largest principal components of patches, less unequal than they come
    (each divided by the square root of its spread), together of unit mean square.

    Args:
        pixels: uint8 (pictures, height, width, 3).
        size: of a patch, in pixels.
        width: how many components; what patches do not have is left at zero.
        scale: what the network's own normalisation divides 0..1 by ...
        mean: ... after taking this off.
    """
    seen = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / scale
    patches = nn.functional.unfold(seen, size, stride=size).transpose(1, 2).flatten(0, 1)
    centre = patches.mean(0)
    _, spread, axes = torch.linalg.svd((patches - centre).double(), full_matrices=False)
    kept = min(width, int((spread > 1e-4 * spread[0]).sum()))
    spread = spread[:kept] / math.sqrt(len(patches))
    filters = torch.zeros(width, patches.shape[1])
    filters[:kept] = (axes[:kept] / spread.sqrt()[:, None]).float()
    filters *= math.sqrt(width / float(spread.sum()))
    return filters.reshape(width, 3, size, size), -filters @ centre
