"""Which perturbations an episode is played under, from its plan or from its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard, cast

from vlascope.benchmark import ImageEdit
from vlascope.perturbations import (
    Function,
    Given,
    Perturbation,
    PerturbationData,
    parse_perturbations,
)
from vlascope.records import EpisodePlan
from vlascope.specs import CameraSpec

__all__ = ["Perturb", "check_cameras", "is_data", "perturbations_of", "with_data"]

Perturb = str | ImageEdit | Perturbation | Sequence[Perturbation] | PerturbationData
"""Perturbations or their data, one or a list; or a function, by import string or itself."""


def is_data(
    perturb: Perturb,
) -> TypeGuard[Perturbation | Sequence[Perturbation] | PerturbationData]:
    """Whether it can be written down, and is no mere function."""
    return isinstance(perturb, Perturbation | Mapping | Sequence) and not isinstance(perturb, str)


def perturbations_of(plan: EpisodePlan, perturb: Perturb | None) -> tuple[Perturbation, ...]:
    """What is done to an episode's pictures: what its plan says, else what its run does.

    Raises:
        UnknownName: no plugin registers such a kind.
        pydantic.ValidationError: the fields do not fit.
    """
    if plan.perturbation is not None and not isinstance(plan.perturbation, str):
        return parse_perturbations(plan.perturbation)
    if perturb is None:
        return ()
    if isinstance(perturb, str):
        return (Function(target=perturb),)
    return _read(perturb) if is_data(perturb) else (Given(call=cast(ImageEdit, perturb)),)


def with_data(plan: EpisodePlan, perturb: Perturb | None) -> EpisodePlan:
    """The plan with its perturbations written out in full, so that its digest covers them."""
    own = plan.perturbation is not None and not isinstance(plan.perturbation, str)
    if not own and (perturb is None or not is_data(perturb)):
        return plan
    data = tuple(p.model_dump(mode="json") for p in perturbations_of(plan, perturb))
    return plan.model_copy(update={"perturbation": data})


def check_cameras(
    plans: Sequence[EpisodePlan], perturb: Perturb | None, read: Mapping[str, CameraSpec]
) -> None:
    """Refuse perturbations that mean nothing on the cameras the policy reads.

    Raises:
        UnknownName: none of these cameras goes by a name or glob.
        IncompatibleError: the cameras do not allow it.
    """
    found = {p.model_dump_json(): p for plan in plans for p in perturbations_of(plan, perturb)}
    for perturbation in found.values():
        perturbation.check(read)


def _read(
    given: Perturbation | Sequence[Perturbation] | PerturbationData,
) -> tuple[Perturbation, ...]:
    entries: Sequence[Any] = [given] if isinstance(given, Perturbation | Mapping) else given
    return tuple(p if isinstance(p, Perturbation) else parse_perturbations([p])[0] for p in entries)
