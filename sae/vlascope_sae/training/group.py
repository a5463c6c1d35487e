"""Processes that train together, each on its share of every batch (`torchrun`)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from vlascope_sae.training.source import Batch

__all__ = ["Group"]


@dataclass(frozen=True)
class Group:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls, device: torch.device) -> Group:
        """The group that `torchrun` started this process in; alone without it."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def share(self, batch: Batch) -> Batch:
        """This process's rows of a batch that all of them drew."""
        if self.size == 1:
            return batch
        target = None if batch.target is None else batch.target[self.rank :: self.size]
        return Batch(batch.x[self.rank :: self.size], target, batch.drawn, batch.dropped)

    def average_gradients(self, parameters: Iterable[Tensor], weight: float) -> None:
        """Replace gradients by the mean over processes, each weighted by its number of rows."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients]) * weight
        distributed.all_reduce(flat)
        for gradient, whole in zip(
            gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(whole.view_as(gradient))

    def mean(self, value: Tensor, weight: float) -> Tensor:
        """The mean of a number over processes, each weighted by its share of the rows."""
        if self.size == 1:
            return value
        total = value * weight
        distributed.all_reduce(total)
        return total

    def any(self, flags: Tensor) -> Tensor:
        """Which flags are set in some process."""
        if self.size == 1:
            return flags
        counts = flags.to(torch.int32)
        distributed.all_reduce(counts)
        return counts > 0

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.size > 1:
            distributed.barrier()
