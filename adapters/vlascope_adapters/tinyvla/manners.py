"""A scripted expert that plays slower, higher or lower than it would."""

from __future__ import annotations

import numpy as np

from vlascope.benchmark import BenchmarkEnv
from vlascope.errors import unknown_name
from vlascope.types import FloatArray
from vlascope_adapters.tinyvla.recipe import TaskPlan

__all__ = ["act_in_manner"]

_GAIN = 10.0
"""Action units per metre, the gain of MetaWorld's own experts."""


def act_in_manner(env: BenchmarkEnv, plan: TaskPlan) -> FloatArray:
    """What the expert does now in the manner of `plan`: float32 (action_dim,), within its range.

    Raises:
        UnknownName: the scene does not have the target that a travelling height ends at.
    """
    manner = plan.manner
    action = np.clip(env.expert(), env.info.action.low, env.info.action.high).astype(np.float32)
    if manner.height is not None:
        scene = env.scene_state()
        if plan.target not in scene:
            raise unknown_name("target of a travelling height", plan.target, scene)
        hand, target = scene["end_effector"].position, scene[plan.target].position
        if np.linalg.norm(hand[:2] - target[:2]) > manner.near:
            action[2] = np.clip(_GAIN * (manner.height - hand[2]), -1, 1)
    if manner.speed != 1:
        action[:3] *= np.float32(manner.speed)
    return action
