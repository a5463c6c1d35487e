"""From an observation to what the network reads, as the published evaluation scripts have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from vlascope.errors import CorruptFile, FileMissing
from vlascope.types import Image as Picture

__all__ = ["CROPPED_AREA", "PictureProcessor", "Prompt", "Prompter"]

CROPPED_AREA = 0.9
"""The part of a picture that fine-tuned policies were shown at random, and are shown the middle
of when they act."""

_BEFORE, _AFTER = "In: What action should the robot take to ", "?\nOut:"
_BOS, _EOS, _EMPTY = "<s>", "</s>", "\u2581"


@dataclass(frozen=True)
class Prompt:
    """An instruction as the network reads it.

    Attributes:
        ids: <s>, the question, and the empty word that came before every action in training.
        words: which of them are the instruction's own, [start, stop).
    """

    ids: tuple[int, ...]
    words: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Prompter:
    """Asks for an action in the words of OpenVLA's training."""

    tokenizer: Tokenizer

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a `tokenizer.json`.

        Raises:
            FileMissing: there is none; says where it can be had.
            CorruptFile: it is no tokenizer, or not one with a Llama's special tokens.
        """
        if not path.is_file():
            raise FileMissing(
                f"{path.parent} has no tokenizer.json. Every OpenVLA has the same: `hf download "
                f"openvla/openvla-7b tokenizer.json --local-dir {path.parent}`, or give the folder "
                "that has it with tokenizer=FOLDER"
            )
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise CorruptFile(f"{path} is no tokenizer ({error}); download it again") from error
        missing = [t for t in (_BOS, _EOS, _EMPTY) if tokenizer.token_to_id(t) is None]
        if missing:
            raise CorruptFile(f"{path} is not OpenVLA's tokenizer: it has no {' '.join(missing)}")
        return cls(tokenizer)

    @property
    def stop(self) -> int:
        """The id of </s>."""
        return int(self.tokenizer.token_to_id(_EOS))

    def __call__(self, instruction: str) -> Prompt:
        """In lower case, whatever its length."""
        said = instruction.lower()
        encoded = self.tokenizer.encode(_BEFORE + said + _AFTER)
        start, stop = len(_BEFORE), len(_BEFORE) + len(said)
        first = next(i for i, (_, end) in enumerate(encoded.offsets) if end > start)
        own = [i for i, (begin, _) in enumerate(encoded.offsets) if i >= first and begin < stop]
        ids, empty = list(encoded.ids), self.tokenizer.token_to_id(_EMPTY)
        if ids[-1] != empty:
            ids.append(empty)
        return Prompt(tuple(ids), (first, first + len(own) if said else first))


@dataclass(frozen=True)
class PictureProcessor:
    """A camera's picture to the pixels of both towers.

    Attributes:
        size: pixels a side.
        means, stds: of the normalisation, one triple a tower.
        crop: whether the middle of the picture is cut out, `CROPPED_AREA` of it.
    """

    size: int
    means: tuple[tuple[float, ...], ...]
    stds: tuple[tuple[float, ...], ...]
    crop: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any], size: int, *, crop: bool) -> Self:
        """Read a `preprocessor_config.json`.

        `tvf_normalize_params` counts where it is there: the published files keep in it the
        numbers that training used, which are those of `means` and `stds` rounded to bfloat16.

        Raises:
            CorruptFile: it says nothing of two towers' normalisation.
        """
        applied = config.get("tvf_normalize_params")
        means = [p["mean"] for p in applied] if applied else config.get("means")
        stds = [p["std"] for p in applied] if applied else config.get("stds")
        if not means or not stds or not len(means) == len(stds) == 2:
            raise CorruptFile(
                "preprocessor_config.json gives no normalisation for two vision towers "
                "(tvf_normalize_params, or means and stds)"
            )
        return cls(size, tuple(map(tuple, means)), tuple(map(tuple, stds)), crop)

    def to_config(self) -> dict[str, Any]:
        """What `from_config` reads back."""
        pairs = zip(self.means, self.stds, strict=True)
        return {
            "image_processor_type": "PrismaticImageProcessor",
            "use_fused_vision_backbone": True,
            "image_resize_strategy": "resize-naive",
            "input_sizes": [[3, self.size, self.size]] * len(self.means),
            "means": self.means,
            "stds": self.stds,
            "tvf_normalize_params": [{"mean": m, "std": s, "inplace": False} for m, s in pairs],
        }

    def __call__(self, picture: Picture) -> Tensor:
        """Float32 (6, size, size) from uint8 (height, width, 3)."""
        seen = lanczos(through_jpeg(picture), self.size)
        if self.crop:
            seen = middle(seen)
        pixels = torch.from_numpy(seen).permute(2, 0, 1).float() / 255
        return torch.cat(
            [
                (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
                for mean, std in zip(self.means, self.stds, strict=True)
            ]
        )


def through_jpeg(picture: Picture) -> Picture:
    """Compressed and read again, as the pictures of the training data were."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling="4:2:0")
    return np.array(Image.open(file))


def lanczos(picture: Picture, size: int) -> Picture:
    """Resized with antialiasing, in float and rounded at the end, as TensorFlow does."""
    channels = [Image.fromarray(c.astype(np.float32)) for c in np.moveaxis(picture, 2, 0)]
    resized = [np.array(c.resize((size, size), Image.Resampling.LANCZOS)) for c in channels]
    return np.rint(np.stack(resized, axis=2)).clip(0, 255).astype(np.uint8)


def middle(picture: Picture, area: float = CROPPED_AREA) -> Picture:
    """The middle of a square picture, enlarged to its size: TensorFlow's `crop_and_resize`.

    Bilinear; the corners of the cut-out are pixel centres, and its sides are the root of `area`.
    """
    pixels = picture.astype(np.float32) * np.float32(1 / 255)
    side = np.sqrt(np.float32(area))
    offset = (1 - side) / np.float32(2)
    for axis in (1, 0):
        pixels = _sampled(pixels, axis, offset, side)
    return (pixels.clip(0, 1) * np.float32(255.5)).astype(np.uint8)


def _sampled(
    pixels: npt.NDArray[np.float32], axis: int, offset: np.float32, side: np.float32
) -> npt.NDArray[np.float32]:
    """As many points as there were, between `offset` and `offset + side` of an axis."""
    last = np.float32(pixels.shape[axis] - 1)
    places = offset * last + np.arange(pixels.shape[axis], dtype=np.float32) * side
    below = np.floor(places).astype(np.int64)
    above = np.ceil(places).astype(np.int64)
    shape = [1] * pixels.ndim
    shape[axis] = -1
    part = (places - below.astype(np.float32)).reshape(shape)
    low, high = pixels.take(below, axis), pixels.take(above, axis)
    return np.asarray(low + (high - low) * part, dtype=np.float32)
