"""What perturbations did to one episode, and whether the policy was given the result."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["PerturbationReceipt", "Perturbed"]


class PerturbationReceipt(BaseModel):
    """What one perturbation did, over the pictures that the policy reads.

    Attributes:
        kind: which perturbation.
        pictures: how many its cameras and steps made due.
        changed: of those, how many had at least one value changed.
        change: mean |change| of a value, 0 to 255, over all due pictures; None where none was due.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    pictures: int
    changed: int
    change: float | None


class Perturbed(BaseModel):
    """The perturbations of one episode, by their order, and what came of their pictures.

    Attributes:
        looks: how often the policy was asked.
        altered: looks at which it was given other pictures than the cameras took, by hash.
        delivered: looks at which it was given exactly what the perturbations left, by hash.
        perturbations: one receipt each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    looks: int
    altered: int
    delivered: int
    perturbations: tuple[PerturbationReceipt, ...]
