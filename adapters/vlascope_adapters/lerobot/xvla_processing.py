"""Around X-VLA's network: the noise it starts from, upstream's pipelines made whole, rotations."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from lerobot.configs import FeatureType, NormalizationMode
from lerobot.policies.xvla import modeling_xvla
from lerobot.policies.xvla.processor_xvla import (
    XVLAAddDomainIdProcessorStep,
    XVLAImageNetNormalizeProcessorStep,
    XVLARotation6DToAxisAngleProcessorStep,
)
from lerobot.processor import TokenizerProcessorStep
from torch import Tensor

from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.robots import Robot

__all__ = [
    "added_steps",
    "axis_angle",
    "completed",
    "domain_of",
    "gives_poses",
    "starting_from",
    "tokenizer_step",
    "turns_rotations",
    "whole_action",
]

_END_EFFECTOR_MODES = ("ee6d", "agibot_ee6d")
_upstream_lock = threading.Lock()


@contextmanager
def starting_from(noise: Tensor) -> Iterator[None]:
    """Let upstream's sampler, which draws its own noise, draw this noise instead."""
    with _upstream_lock:
        modeling_xvla.torch = _Torch(noise)
        try:
            yield
        finally:
            modeling_xvla.torch = torch


class _Torch:
    """torch, except that `randn` gives the noise it was made with."""

    def __init__(self, noise: Tensor) -> None:
        self._noise = noise

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def randn(self, *shape: int, device: Any, dtype: torch.dtype) -> Tensor:
        """The noise, in the shape and type that upstream asks for."""
        if shape != tuple(self._noise.shape):
            raise RuntimeError(
                f"X-VLA draws noise of {shape}, expected was {tuple(self._noise.shape)}: this "
                "version of lerobot samples in another way than 0.6.1"
            )
        return self._noise.to(device=device, dtype=dtype)


def gives_poses(config: Any) -> bool:
    """Whether the policy's actions are poses of the end effector with 6-d rotations."""
    return config.action_mode.lower() in _END_EFFECTOR_MODES


def turns_rotations(config: Any, robot: Robot) -> bool:
    """Whether those poses become positions with axis-angle rotations for this robot."""
    return gives_poses(config) and robot.action.rotation == "axis_angle"


def tokenizer_step(processors: Processors) -> Any:
    """The step of a pipeline that turns instructions into tokens."""
    steps = processors.before.steps
    return next(step for step in steps if isinstance(step, TokenizerProcessorStep))


def completed(
    processors: Processors, config: Any, robot: Robot, domain_id: int | None
) -> Processors:
    """The checkpoint's pipelines with what upstream's evaluation adds around them.

    Published checkpoints leave to the environment's pipelines what their own do not do: ImageNet
    normalisation and, for LIBERO, 6-d rotations to axis-angle. Each is done once, whoever does it.

    Args:
        processors: the checkpoint's own.
        config: the upstream config.
        robot: what actions have to be.
        domain_id: whose soft prompts and projections; by default what the checkpoint says, and
            where it says nothing, upstream's default (0).
    """
    before, after = list(processors.before.steps), list(processors.after.steps)
    pictures = config.normalization_mapping.get(FeatureType.VISUAL.value)
    unnormalised = pictures in (None, NormalizationMode.IDENTITY)
    if unnormalised and not _has(before, XVLAImageNetNormalizeProcessorStep):
        before.insert(0, XVLAImageNetNormalizeProcessorStep())
    if not _has(before, XVLAAddDomainIdProcessorStep):
        before.insert(0, XVLAAddDomainIdProcessorStep())
    if domain_id is not None:
        before = [_speaking_for(step, domain_id) for step in before]
    if turns_rotations(config, robot) and not _has(after, XVLARotation6DToAxisAngleProcessorStep):
        after.append(XVLARotation6DToAxisAngleProcessorStep())
    return Processors(
        replace(processors.before, steps=before), replace(processors.after, steps=after)
    )


def added_steps(own: Processors, whole: Processors) -> tuple[str, ...]:
    """The names of the steps that a checkpoint's own pipelines lack."""
    pairs = ((own.before, whole.before), (own.after, whole.after))
    return tuple(
        type(step).__name__
        for less, more in pairs
        for step in more.steps
        if not _has(less.steps, type(step))
    )


def domain_of(processors: Processors) -> int:
    """Whose soft prompts and projections the policy uses."""
    steps = processors.before.steps
    return next(s.domain_id for s in steps if isinstance(s, XVLAAddDomainIdProcessorStep))


def whole_action(after: Any, actions: Tensor) -> Tensor:
    """What `after` makes of actions, (rows, dim), with gradients.

    Upstream turns rotations outside torch; here they are turned by `axis_angle`. The gripper is
    decided by a threshold, and so carries no gradient.
    """
    kept = [s for s in after.steps if not isinstance(s, XVLARotation6DToAxisAngleProcessorStep)]
    numbers: Tensor = replace(after, steps=kept)(actions)
    if len(kept) == len(after.steps):
        return numbers
    gripper = torch.where(numbers[:, 9:10] > 0.5, 1.0, -1.0)
    return torch.cat([numbers[:, :3], axis_angle(numbers[:, 3:9]), gripper], dim=-1)


def axis_angle(columns: Tensor) -> Tensor:
    """Rotation vectors, (rows, 3), of the first two columns of rotation matrices, (rows, 6).

    The columns are made orthonormal first, as upstream does.
    """
    first = columns[:, :3] / (columns[:, :3].norm(dim=-1, keepdim=True) + 1e-6)
    rest = columns[:, 3:] - (first * columns[:, 3:]).sum(-1, keepdim=True) * first
    second = rest / (rest.norm(dim=-1, keepdim=True) + 1e-6)
    matrix = torch.stack([first, second, torch.cross(first, second, dim=-1)], dim=-1)
    quaternion = _quaternion(matrix)
    quaternion = torch.where(quaternion[:, :1] < 0, -quaternion, quaternion)
    size = quaternion[:, 1:].norm(dim=-1, keepdim=True)
    small = size < 1e-6
    angle = 2 * torch.atan2(torch.where(small, 1.0, size), quaternion[:, :1])
    return quaternion[:, 1:] * torch.where(small, 2.0, angle / torch.where(small, 1.0, size))


def _quaternion(matrix: Tensor) -> Tensor:
    """(w, x, y, z) of rotation matrices, from whichever of the four is largest.

    Four times the outer product of a quaternion with itself is linear in the matrix; its column
    with the largest diagonal entry is divided by twice that component.
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in matrix.unbind(-2))
    rows = (
        (1 + a + e + i, h - f, c - g, d - b),
        (h - f, 1 + a - e - i, b + d, c + g),
        (c - g, b + d, 1 - a + e - i, f + h),
        (d - b, c + g, f + h, 1 - a - e + i),
    )
    outer = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    column = outer[torch.arange(len(outer), device=outer.device), largest]
    return column / column.norm(dim=-1, keepdim=True)


def _has(steps: Sequence[Any], kind: type) -> bool:
    return any(isinstance(step, kind) for step in steps)


def _speaking_for(step: Any, domain_id: int) -> Any:
    if not isinstance(step, XVLAAddDomainIdProcessorStep):
        return step
    return XVLAAddDomainIdProcessorStep(domain_id=domain_id)
