"""What a server says of its policy when a client connects, and observations on their way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter

from vlascope import __version__
from vlascope.adapter import AdapterInfo, VLAAdapter
from vlascope.errors import IncompatibleError
from vlascope.hooks import HookPoint
from vlascope.types import Observation

__all__ = ["OURS", "PROTOCOL", "Description", "observation_from", "observation_to"]

OURS: Final = "vlascope"
"""The key of whatever goes beyond openpi's protocol, in metadata and in requests."""

PROTOCOL: Final = 1
_INFO = TypeAdapter(AdapterInfo)


@dataclass(frozen=True)
class Description:
    """A served policy: what holds of it, and the names of its hook points."""

    info: AdapterInfo
    points: tuple[HookPoint, ...]
    attention: tuple[HookPoint, ...]
    dead: frozenset[HookPoint]

    @classmethod
    def of(cls, adapter: VLAAdapter) -> Description:
        """Describe a loaded policy."""
        points, attention = adapter.hook_points(), adapter.attention_points()
        return cls(adapter.info, tuple(points), tuple(attention), adapter.dead_points())

    def metadata(self) -> dict[str, Any]:
        """The first message of a connection; clients that know nothing of it ignore it."""
        about = {
            "protocol": PROTOCOL,
            "version": __version__,
            "info": _INFO.dump_python(self.info),
            "points": [str(p) for p in self.points],
            "attention": [str(p) for p in self.attention],
            "dead": sorted(map(str, self.dead)),
        }
        return {OURS: about, "action_horizon": self.info.horizon}

    @classmethod
    def read(cls, metadata: Mapping[str, Any], where: str) -> Description | None:
        """From a connection's first message; None for a server that is not ours.

        Raises:
            IncompatibleError: it speaks another version of the protocol.
        """
        about = metadata.get(OURS)
        if about is None:
            return None
        if about.get("protocol") != PROTOCOL:
            raise IncompatibleError(
                f"{where} speaks protocol {about.get('protocol')} (vlascope "
                f"{about.get('version')}), this is protocol {PROTOCOL} (vlascope {__version__}): "
                "install the same version on both sides"
            )
        parse = HookPoint.parse
        return cls(
            _INFO.validate_python(about["info"]),
            tuple(map(parse, about["points"])),
            tuple(map(parse, about["attention"])),
            frozenset(map(parse, about["dead"])),
        )


def observation_to(observation: Observation) -> dict[str, Any]:
    """An observation as plain data."""
    return {
        "instruction": observation.instruction,
        "images": dict(observation.images),
        "state": dict(observation.state),
    }


def observation_from(data: Mapping[str, Any]) -> Observation:
    """The observation that `observation_to` wrote, with arrays of its own."""
    return Observation(
        instruction=data["instruction"],
        images={name: np.array(v) for name, v in data["images"].items()},
        state={name: np.array(v) for name, v in data["state"].items()},
    )
