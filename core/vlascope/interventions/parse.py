"""Reading interventions back from plain data, whoever registered their kind."""

from __future__ import annotations

from typing import Any

from vlascope.errors import unknown_name
from vlascope.interventions.intervention import Intervention

__all__ = ["parse_intervention"]


def parse_intervention(data: dict[str, Any]) -> Intervention:
    """The intervention that `data["kind"]` names, as `model_dump` wrote it.

    Raises:
        UnknownName: no plugin registers that kind.
        pydantic.ValidationError: its fields do not fit.
    """
    from vlascope import plugins

    if "kind" not in data:
        raise unknown_name("intervention", "", plugins.interventions())
    return plugins.intervention_class(data["kind"]).model_validate(data)
