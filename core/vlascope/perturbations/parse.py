"""Reading perturbations back from plain data, whoever registered their kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlascope.errors import unknown_name
from vlascope.perturbations.perturbation import Perturbation

__all__ = ["PerturbationData", "parse_perturbation", "parse_perturbations"]

PerturbationData = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""`{kind: ..., ...}`, or a list of them, applied one after the other."""


def parse_perturbation(data: Mapping[str, Any]) -> Perturbation:
    """The perturbation that `data["kind"]` names, as `model_dump` wrote it.

    Raises:
        UnknownName: no plugin registers that kind; near matches are listed.
        pydantic.ValidationError: its fields do not fit.
    """
    from vlascope import plugins

    if "kind" not in data:
        raise unknown_name("perturbation", "", plugins.perturbations())
    return plugins.perturbation_class(data["kind"]).model_validate(dict(data))


def parse_perturbations(data: PerturbationData) -> tuple[Perturbation, ...]:
    """The same for one or a list of them.

    Raises:
        UnknownName: no plugin registers that kind.
        pydantic.ValidationError: the fields do not fit.
    """
    entries = [data] if isinstance(data, Mapping) else data
    return tuple(parse_perturbation(entry) for entry in entries)
