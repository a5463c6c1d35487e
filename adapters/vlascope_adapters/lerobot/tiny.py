"""What every `tiny` policy of lerobot's is built with: features and statistics of a dataset."""

from __future__ import annotations

from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from torch import Tensor

from vlascope_adapters.lerobot.policy import STATE
from vlascope_adapters.offline import ROBOT, byte_tokenizer, seeded

__all__ = ["ROBOT", "VIEW", "byte_tokenizer", "features", "seeded", "statistics"]

VIEW = "observation.images.camera1"


def features() -> dict[str, dict[str, Any]]:
    """`input_features` and `output_features` of an upstream config."""
    camera = next(iter(ROBOT.cameras.values()))
    picture = PolicyFeature(FeatureType.VISUAL, (3, camera.height, camera.width))
    state = PolicyFeature(FeatureType.STATE, (ROBOT.state_dim,))
    action = PolicyFeature(FeatureType.ACTION, (ROBOT.action.dim,))
    return {
        "input_features": {VIEW: picture, STATE: state},
        "output_features": {"action": action},
    }


def statistics(seed: int) -> dict[str, dict[str, Tensor]]:
    """Made-up statistics of a dataset, for every kind of normalisation there is."""
    generator = torch.Generator().manual_seed(seed)

    def of(*shape: int) -> dict[str, Tensor]:
        mean = 0.1 * torch.randn(shape, generator=generator)
        spread = 0.5 + torch.rand(shape, generator=generator)
        low, high = mean - 2 * spread, mean + 2 * spread
        return {"mean": mean, "std": spread, "min": low, "max": high, "q01": low, "q99": high}

    return {
        STATE: of(ROBOT.state_dim),
        "action": of(ROBOT.action.dim),
        VIEW: of(3, 1, 1),
    }
