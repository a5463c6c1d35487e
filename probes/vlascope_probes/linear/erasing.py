"""Taking a subspace out of activations while they run, without moving their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from vlascope.errors import IncompatibleError
from vlascope.hooks import Firing, HookPoint
from vlascope.interventions import ProjectOut
from vlascope.interventions.fields import TensorField
from vlascope.interventions.named import rows_of

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo

__all__ = ["Erase"]


class Erase(ProjectOut):
    """Hold a subspace at its mean: y' = y - U U^T (y - mean).

    `project_out` also removes the mean's component, which carries nothing about a probe's target
    but moves every activation; this edit leaves the mean where it is, as affine concept erasure
    does (arXiv 2306.03819).

    Attributes:
        mean: (width,), of the activations the subspace was found in.
    """

    kind: ClassVar[str] = "erase"
    mean: TensorField

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """The activation with the subspace's component at its mean."""
        moved = super().edit(activation - self.mean.to(activation), firing)
        return moved + self.mean.to(activation)

    def check(self, info: AdapterInfo, points: Sequence[HookPoint]) -> None:
        """The subspace's own site and width, and a mean of that width."""
        super().check(info, points)
        width = rows_of(self.directions).shape[-1]
        if self.mean.shape != (width,) or not bool(torch.isfinite(self.mean).all()):
            raise IncompatibleError(
                f"`mean` has shape {tuple(self.mean.shape)}; expected {width} finite numbers, as "
                "wide as the subspace"
            )
