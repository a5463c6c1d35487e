"""A batch as GR00T's pipeline would give it, made for all rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lerobot.lerobot_types import TransitionKey
from lerobot.policies.groot.utils import prepare_n1_7_language_batch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as pictures_of

from vlascope_zoo.architecture import Batch
from vlascope_zoo.architectures.groot_backbone import PIXELS

__all__ = ["CROP", "Inputs"]

CROP = 86
"""Pixels a side of what is cut out of a picture: at random in training, else the middle."""
_TIMES = 2
"""A picture stands for as many frames of a video."""


class Inputs:
    """Upstream's own steps for words, state and actions; pictures are cut, enlarged and packed.

    Attributes:
        pack, encode: the steps of the policy's pipeline.
    """

    def __init__(self, pack: Any, encode: Any) -> None:
        self.pack, self.encode = pack, encode
        self._ids: dict[str, Tensor] = {}

    def __call__(self, batch: Batch, where: Tensor) -> dict[str, Any]:
        """What the network's forward takes.

        Args:
            batch: raw.
            where: (batch, 2), the upper left corner of what is cut out, down and across, 0 to 1.
        """
        packed = self.pack(
            {
                TransitionKey.OBSERVATION: {"observation.state": batch.state},
                TransitionKey.ACTION: batch.actions,
                TransitionKey.COMPLEMENTARY_DATA: {
                    "task": list(batch.instructions),
                    "action_is_pad": ~batch.valid,
                },
            }
        )
        said = packed[TransitionKey.COMPLEMENTARY_DATA]
        return {
            "state": packed[TransitionKey.OBSERVATION]["state"],
            "action": packed[TransitionKey.ACTION],
            "action_mask": said["action_mask"],
            "embodiment_id": said["embodiment_id"],
            **self.words(batch.instructions),
            **self.pictures(batch.pictures, where),
        }

    def words(self, instructions: Sequence[str]) -> dict[str, Tensor]:
        """Ids and mask, (batch, tokens), padded on the left."""
        rows = [self._tokens(said) for said in instructions]
        longest, pad = max(map(len, rows)), self.encode.proc.tokenizer.pad_token_id
        ids = [functional.pad(row, (longest - len(row), 0), value=pad) for row in rows]
        mask = [functional.pad(torch.ones_like(row), (longest - len(row), 0)) for row in rows]
        return {"input_ids": torch.stack(ids), "attention_mask": torch.stack(mask)}

    def pictures(self, seen: Tensor, where: Tensor) -> dict[str, Tensor]:
        """Patches of all pictures, (batch x patches, 3 x 2 x side x side), and their grids."""
        room = seen.shape[1] - CROP
        corners = (where * room).floor().long().tolist()
        cut = torch.stack(
            [
                picture[top : top + CROP, left : left + CROP]
                for picture, (top, left) in zip(seen, corners, strict=True)
            ]
        ).permute(0, 3, 1, 2)
        bicubic = pictures_of.InterpolationMode.BICUBIC
        large = pictures_of.resize(cut, [PIXELS, PIXELS], interpolation=bicubic, antialias=True)
        processor = self.encode.proc.image_processor
        side, merge = processor.patch_size, processor.merge_size
        mean, std = (
            torch.tensor(given)[:, None, None]
            for given in (processor.image_mean, processor.image_std)
        )
        pixels = (large.float() / 255 - mean) / std
        across = PIXELS // side
        patches = pixels.reshape(
            len(pixels), 3, across // merge, merge, side, across // merge, merge, side
        ).permute(0, 2, 5, 3, 6, 1, 4, 7)
        rows = patches.reshape(len(pixels) * across**2, 3, 1, side, side)
        grid = torch.tensor([[1, across, across]]).expand(len(pixels), -1)
        return {
            "pixel_values": rows.expand(-1, -1, _TIMES, -1, -1).reshape(len(rows), -1),
            "image_grid_thw": grid,
        }

    def _tokens(self, instruction: str) -> Tensor:
        """One row's ids, from upstream's step with a blank picture."""
        if instruction not in self._ids:
            said = prepare_n1_7_language_batch(
                [instruction], 1, formalize_language=self.pack.formalize_language
            )
            blank = {"video": np.zeros((1, 1, 1, PIXELS, PIXELS, 3), np.uint8)}
            found = self.encode(
                {
                    TransitionKey.OBSERVATION: blank,
                    TransitionKey.COMPLEMENTARY_DATA: {"language": said},
                }
            )
            self._ids[instruction] = found[TransitionKey.COMPLEMENTARY_DATA]["input_ids"][0]
        return self._ids[instruction]
