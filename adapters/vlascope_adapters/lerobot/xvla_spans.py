"""What X-VLA's tokens carry: pixels of DaViT's stages, words, actions, soft prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lerobot.lerobot_types import TransitionKey
from lerobot.processor.converters import create_transition
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK

from vlascope.hooks import TokenSpans
from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.lerobot.xvla_processing import tokenizer_step
from vlascope_adapters.lerobot.xvla_taps import stages

__all__ = ["spans"]

_Lengths = Mapping[str, int]
"""Tokens by stream, in order."""


def spans(
    config: Any,
    processors: Processors,
    cameras: Sequence[str],
    size: tuple[int, int],
    instructions: Sequence[str],
) -> Mapping[str, tuple[TokenSpans, ...]]:
    """Token spans of a batch, by pathway, layer or point.

    Args:
        config: the upstream config.
        processors: the policy's pipelines, for the tokenizer.
        cameras: streams of the views that are seen, in the policy's order.
        size: (height, width) of the pictures that DaViT sees.
        instructions: one per row.
    """
    sizes = _stage_sizes(config.get_florence_config().vision_config, size)
    pixels = [height * width for height, width in sizes]
    per_view = 1 + pixels[-1]
    empty = config.num_image_views - len(cameras)
    others = dict.fromkeys(cameras[1:], per_view) | {"empty_view": max(0, empty) * per_view}
    action, prompts = {"action": config.chunk_size}, {"soft_prompt": config.len_soft_prompts}
    alike: dict[str, _Lengths] = {
        "vision.projector": dict.fromkeys(cameras, per_view),
        "trunk.action_encoder": action,
        "trunk.action_head": action,
        "trunk.soft_prompt": prompts,
        "trunk.aux_visual_proj": others,
    }
    for layer, stage in enumerate(stages(config)):
        alike[f"vision.{layer}"] = dict.fromkeys(cameras, pixels[stage])
    first = {cameras[0]: per_view}
    read = [{**first, **words} for words in _texts(processors, instructions)]
    return {
        **{where: (TokenSpans.of_lengths(n),) * len(read) for where, n in alike.items()},
        "vlm": tuple(map(TokenSpans.of_lengths, read)),
        "trunk.vlm_proj": tuple(map(TokenSpans.of_lengths, read)),
        "trunk": tuple(TokenSpans.of_lengths(action | row | others | prompts) for row in read),
    }


def _stage_sizes(vision: Any, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """(height, width) of every DaViT stage's map."""
    height, width = size
    for stage, kernel in enumerate(vision.patch_size):
        stride, padding = vision.patch_stride[stage], vision.patch_padding[stage]
        height = (height + 2 * padding - kernel) // stride + 1
        width = (width + 2 * padding - kernel) // stride + 1
        yield height, width


def _texts(processors: Processors, instructions: Sequence[str]) -> Iterator[_Lengths]:
    """Words and padding of every instruction, in the order in which the tokenizer lays them."""
    step = tokenizer_step(processors)
    asked = create_transition(observation={}, complementary_data={step.task_key: [*instructions]})
    for row in step(asked)[TransitionKey.OBSERVATION][OBS_LANGUAGE_ATTENTION_MASK]:
        words = int(row.sum())
        padding = len(row) - words
        if words and not row[0]:
            yield {"padding": padding, "instruction": words}
        else:
            yield {"instruction": words, "padding": padding}
