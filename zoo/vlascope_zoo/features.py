"""What lerobot's policies are configured with here, and how a batch is put to their pipelines."""

from __future__ import annotations

from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from torch import Tensor

from vlascope_adapters.lerobot.policy import STATE
from vlascope_zoo.architecture import Batch, Statistics

__all__ = ["VIEW", "dataset_statistics", "features", "lerobot_batch"]

VIEW = "observation.images.corner2"
"""The one camera, by the benchmark's name for it."""


def features(size: int = 96) -> dict[str, dict[str, Any]]:
    """`input_features` and `output_features` of an upstream config: one picture, four numbers."""
    return {
        "input_features": {
            VIEW: PolicyFeature(FeatureType.VISUAL, (3, size, size)),
            STATE: PolicyFeature(FeatureType.STATE, (4,)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (4,))},
    }


def dataset_statistics(statistics: Statistics) -> dict[str, dict[str, Tensor]]:
    """What upstream's `make_..._pre_post_processors` take as a dataset's statistics."""
    return {
        STATE: dict(statistics.state),
        "action": dict(statistics.action),
        VIEW: dict(statistics.picture),
    }


def lerobot_batch(batch: Batch) -> dict[str, Any]:
    """A batch as lerobot's datasets give it, before the policy's own pre-processing."""
    return {
        VIEW: batch.pictures.permute(0, 3, 1, 2).to(torch.float32) / 255,
        STATE: batch.state,
        "action": batch.actions,
        "action_is_pad": ~batch.valid,
        "task": list(batch.instructions),
    }
