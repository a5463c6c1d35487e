"""Several processes that train one network: each its share of a batch, one gradient for all.

One single-threaded process a core is faster on CPU than threads inside each operation, and far
faster when the machine is shared.
"""

from __future__ import annotations

import multiprocessing.synchronize
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["ALONE", "Team"]

_PATIENCE = 600.0


@dataclass(frozen=True, eq=False)
class Team:
    """The place of one worker among those that train together.

    Attributes:
        rank: 0 for the worker that saves and reports.
        gradients: float32 (workers, parameters) in shared memory; None for a worker alone.
        barrier: where the workers wait for each other; None for a worker alone.
    """

    rank: int = 0
    gradients: Tensor | None = None
    barrier: multiprocessing.synchronize.Barrier | None = None

    @property
    def workers(self) -> int:
        """How many there are."""
        return 1 if self.gradients is None else len(self.gradients)

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the workers, to the bit the same for all.

        Raises:
            threading.BrokenBarrierError: another worker is gone.
        """
        if self.gradients is None or self.barrier is None:
            return
        found = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        torch.cat([grad.flatten() for grad in found], out=self.gradients[self.rank])
        self.barrier.wait(_PATIENCE)
        mean = self.gradients.mean(0)
        self.barrier.wait(_PATIENCE)
        parts = torch.split(mean, [p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)


ALONE = Team()
"""A worker by itself."""
