"""Which benchmark to play, as plain data."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BenchmarkSpec"]


class BenchmarkSpec(BaseModel):
    """A registered benchmark and the options its class is built with.

    Attributes:
        name: as `vlascope list` shows it.
        options: keyword arguments, fit for JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `str` of one, as records hold it, stands for."""
        name, _, options = text.partition(" ")
        return cls(name=name, options=json.loads(options) if options else {})

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name} {json.dumps(self.options, sort_keys=True)}"
