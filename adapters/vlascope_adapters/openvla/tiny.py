"""Policies of the real architecture that are small enough for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from vlascope_adapters.offline import byte_tokenizer, seeded
from vlascope_adapters.openvla.architecture import Architecture
from vlascope_adapters.openvla.checkpoint import Release
from vlascope_adapters.openvla.network import OpenVLA
from vlascope_adapters.openvla.preparation import PictureProcessor, Prompter
from vlascope_adapters.robots import Robot

__all__ = ["TINY", "tiny_release", "with_reactive_weights"]

TINY = Architecture(
    image_size=56,
    text_config={
        "vocab_size": 704,
        "pad_token_id": 640,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    timm_overrides=(
        {"embed_dim": 32, "depth": 3, "num_heads": 2},
        {"embed_dim": 28, "depth": 3, "num_heads": 2},
    ),
)
"""16 patches a picture; the last 256 of 640 words are action tokens."""

_DINO, _SIGLIP = ((0.484375, 0.455078125, 0.40625), (0.228515625, 0.2236328125, 0.224609375)), 0.5
_DECISIVE, _CHOOSY, _FAINT = 6.0, 3.0, 0.3


def tiny_release(robot: Robot, seed: int) -> Release:
    """Everything but weights, with made-up statistics of a dataset called `tiny`."""
    tokenizer = byte_tokenizer(["<unk>", "<s>", "</s>", "\u2581"], bos="<s>", eos="</s>")
    half = (_SIGLIP,) * 3
    return Release(
        TINY,
        PictureProcessor(TINY.image_size, (_DINO[0], half), (_DINO[1], half), crop=True),
        Prompter(tokenizer.backend_tokenizer),
        "tiny",
        _statistics(seed, robot),
    )


def with_reactive_weights[Network: OpenVLA](build: Callable[[], Network], seed: int) -> Network:
    """A network whose every layer passes on as much as it gets, and that says action tokens.

    Upstream's initial weights are so small that neither picture nor words reach the action. Words
    are fainter than patches, and attention picks few tokens, or a picture's would be averaged out.
    """
    with seeded(seed), torch.no_grad():
        network = build()
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(std=module.in_features**-0.5)
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(std=_FAINT)
        for name, parameter in network.named_parameters():
            if name.endswith("scale_factor"):
                parameter.fill_(1.0)
            elif name.endswith("q_proj.weight"):
                parameter.mul_(_CHOOSY)
        end, n_bins = TINY.first_free_id, TINY.n_action_bins
        network.language_model.lm_head.weight[end - n_bins : end] *= _DECISIVE
    return network


def _statistics(seed: int, robot: Robot) -> Mapping[str, Mapping[str, Any]]:
    """Quantiles and extremes of actions and states; grippers are left as they are."""
    generator = torch.Generator().manual_seed(seed)

    def of(names: list[str]) -> dict[str, Any]:
        middle = 0.1 * torch.randn(len(names), generator=generator)
        spread = 0.5 + torch.rand(len(names), generator=generator)
        low, high = (middle - spread).tolist(), (middle + spread).tolist()
        return {"q01": low, "q99": high, "min": low, "max": high}

    names = list(robot.action.names)
    state = [name for spec in robot.state.values() for name in spec.names]
    masked = [not name.endswith("gripper") for name in names]
    return {"action": {**of(names), "mask": masked}, "proprio": of(state)}
