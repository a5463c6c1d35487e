"""Which tokens of GR00T's sequences carry what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from lerobot.lerobot_types import TransitionKey
from lerobot.policies.groot.utils import prepare_n1_7_language_batch

from vlascope.hooks import TokenSpans
from vlascope_adapters.robots import Robot

__all__ = ["Layout"]

_REMEMBERED = 1024


class Layout:
    """The order and the number of tokens, asked of upstream's own steps with blank pictures.

    Pictures of one camera have one size, so that a row's tokens depend on its instruction alone.

    Attributes:
        views: image features in the order in which the pipeline packs them, and their cameras.
        pictures: streams, one a picture, in that order: `image.<camera>`, and, where a checkpoint
            looks at several frames, `image.<camera>.past1` and so on for those before the last.
    """

    def __init__(self, pack: Any, encode: Any, robot: Robot, features: Iterable[str]) -> None:
        order = pack._ordered_image_keys(dict.fromkeys(features))
        self.views = {feature: robot.camera_of(feature) for feature in order}
        self._frames = pack.video_horizon or 1
        self.pictures = [
            f"image.{camera}" + (f".past{past}" if past else "")
            for past in reversed(range(self._frames))
            for camera in self.views.values()
        ]
        self._encode, self._formal = encode, pack.formalize_language
        first = robot.cameras[next(iter(self.views.values()))]
        self._blank = (1, self._frames, len(self.views), first.height, first.width, 3)
        self._texts: dict[str, tuple[int, ...]] = {}
        self._patches: list[int] = []

    @property
    def texts(self) -> Any:
        """The backbone's tokenizer."""
        return self._encode.proc.tokenizer

    def of_pictures(self) -> tuple[TokenSpans, TokenSpans]:
        """A row's pictures, end to end: their patches, and what the mergers make of them."""
        self._tokens("")
        merged = self._encode.proc.image_processor.merge_size**2
        patches = dict(zip(self.pictures, self._patches, strict=True))
        quarter = {name: count // merged for name, count in patches.items()}
        return TokenSpans.of_lengths(patches), TokenSpans.of_lengths(quarter)

    def of_texts(self, instructions: Sequence[str]) -> tuple[TokenSpans, ...]:
        """The rows of a batch, padded on the left to the longest."""
        rows = [self._tokens(instruction) for instruction in instructions]
        longest = max(map(len, rows))
        return tuple(self._spans(row, longest - len(row)) for row in rows)

    def _spans(self, tokens: Sequence[int], padding: int) -> TokenSpans:
        """What lies between pictures and instruction is `template.0`, `template.1`, ..."""
        merged, at = self.of_pictures()[1], 0
        lengths: dict[str, int] = {"padding": padding}
        image = self.texts.convert_tokens_to_ids(self._encode.proc.image_token)
        for number, name in enumerate(self.pictures):
            start = tokens.index(image, at)
            lengths[f"template.{number}"] = start - at
            lengths[name] = merged[name].stop - merged[name].start
            at = start + lengths[name]
        end = len(tokens) - 1 - tokens[::-1].index(self.texts.convert_tokens_to_ids("<|im_end|>"))
        count = len(self.pictures)
        lengths |= {f"template.{count}": 1, "instruction": end - at - 1}
        return TokenSpans.of_lengths({**lengths, f"template.{count + 1}": len(tokens) - end})

    def _tokens(self, instruction: str) -> tuple[int, ...]:
        """One row's tokens, without padding."""
        if instruction not in self._texts:
            said = prepare_n1_7_language_batch([instruction], 1, formalize_language=self._formal)
            blank = {"video": np.zeros(self._blank, np.uint8)}
            encoded = self._encode(
                {
                    TransitionKey.OBSERVATION: blank,
                    TransitionKey.COMPLEMENTARY_DATA: {"language": said},
                }
            )[TransitionKey.COMPLEMENTARY_DATA]
            if len(self._texts) >= _REMEMBERED:
                self._texts.clear()
            self._texts[instruction] = tuple(encoded["input_ids"][0].tolist())
            self._patches = encoded["image_grid_thw"].prod(-1).tolist()
        return self._texts[instruction]
