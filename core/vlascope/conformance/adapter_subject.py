"""The adapter under check: its tiny policy, built once, and ways to run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from torch import nn

from vlascope.adapter import VLAAdapter
from vlascope.hooks import BLOCK_SITES, HookPoint
from vlascope.noise import generator_for
from vlascope.types import FloatArray, Observation

__all__ = ["AdapterSubject", "apart", "count_hooks"]


class AdapterSubject:
    """One adapter class and a policy of it; every check leaves it as it found it.

    The policy is what `make` gives, by default `cls.tiny()`.
    """

    def __init__(self, cls: type[VLAAdapter], make: Callable[[], VLAAdapter] | None = None) -> None:
        self.cls = cls
        self._make = make or cls.tiny

    @cached_property
    def adapter(self) -> VLAAdapter:
        """The policy, made once."""
        return self._make()

    def make(self) -> VLAAdapter:
        """The same policy, made anew."""
        return self._make()

    @cached_property
    def live_points(self) -> list[HookPoint]:
        """Hook points not declared dead, in forward order within each pathway."""
        return sorted(set(self.adapter.hook_points()) - self.adapter.dead_points())

    def blocks(self, pathway: str) -> list[HookPoint]:
        """The block sites of a pathway, in forward order."""
        return sorted(
            p
            for p in self.adapter.hook_points()
            if p.pathway == pathway and p.layer is not None and p.site in BLOCK_SITES
        )

    def examples(self, *seeds: int) -> list[Observation]:
        """Example observations."""
        return [self.adapter.example_observation(seed) for seed in seeds]

    def act(
        self, observations: Sequence[Observation] | None = None, *, noise: int = 0
    ) -> FloatArray:
        """Chunks, (batch, horizon, action_dim); row i draws from `generator_for(noise, i)`."""
        rows = self.examples(0) if observations is None else observations
        self.adapter.reset()
        generators = [generator_for(noise, i) for i, _ in enumerate(rows)]
        return self.adapter.infer(rows, generators=generators).actions


def apart(one: FloatArray, other: FloatArray) -> float:
    """The largest difference; infinite where the shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one - other).max())


def count_hooks(model: nn.Module) -> int:
    """How many forward hooks and pre-hooks sit in a network."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
