"""From GR00T's normalised actions to the robot's, as upstream's pipeline does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from lerobot.policies.groot.processor_groot import GrootN17ActionDecodeStep
from lerobot.policies.groot.utils import config_value
from torch import Tensor

from vlascope.errors import CapabilityMissing

__all__ = ["horizons", "native_statistics", "with_slope"]

_STEP = 1e-2


def horizons(policy: Any, after: Any) -> tuple[int, int]:
    """How many actions of a chunk are decoded, and how many of them upstream executes."""
    predicted = torch.empty(1, policy._groot_model.action_head.action_horizon, 1, device="meta")
    horizon = policy._resolve_prediction_horizon(predicted)
    for step in _native(after):
        horizon = min(horizon, len(step.modality_config["action"]["delta_indices"]) or horizon)
    return horizon, min(horizon, policy._action_queue_steps)


def with_slope(actions: Tensor, after: Any) -> Tensor:
    """Decoded actions that carry gradients.

    The steps of a checkpoint in lerobot's layout are torch and keep the graph. A base model's own
    step is numpy, and decodes every number by itself: its slope is measured.

    Raises:
        CapabilityMissing: it composes poses (relative end-effector actions).
    """
    steps = _native(after)
    if not steps:
        return after(actions)
    if any(_composes_poses(step) for step in steps):
        raise CapabilityMissing(
            "this checkpoint decodes relative end-effector poses, through which upstream's decoder "
            "gives no gradients"
        )
    plain = actions.detach()
    decoded = after(plain)
    slope = (after(plain + _STEP) - after(plain - _STEP)) / (2 * _STEP)
    rise = (actions - plain)[:, : decoded.shape[1], : decoded.shape[2]]
    return decoded + slope * rise.to(decoded)


def native_statistics(after: Any) -> Mapping[str, Tensor]:
    """A base model's statistics, which upstream keeps as JSON and not as tensors, as bytes."""
    told = [json.dumps(step.raw_stats, sort_keys=True, default=str) for step in _native(after)]
    return {f"statistics.{i}": torch.tensor(list(t.encode())) for i, t in enumerate(told)}


def _native(after: Any) -> list[Any]:
    """The steps that decode with a base model's own statistics."""
    return [s for s in after.steps if isinstance(s, GrootN17ActionDecodeStep) and s.modality_config]


def _composes_poses(step: Any) -> bool:
    groups = step.modality_config["action"].get("action_configs", [])
    relative = [
        g for g in groups if step.use_relative_action and config_value(g["rep"]) == "relative"
    ]
    return any(config_value(group.get("type")) == "eef" for group in relative)
