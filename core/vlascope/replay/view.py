"""From where, how large and how often a replayed episode is looked at."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vlascope.benchmark import BenchmarkEnv
from vlascope.errors import CapabilityMissing, unknown_name
from vlascope.types import Image

__all__ = ["View"]

_RATE: Final = 20.0
"""Pictures a second to stay close to where none are asked for."""


@dataclass(frozen=True)
class View:
    """How an episode is filmed.

    Attributes:
        camera: by name; None for the benchmark's picture for people.
        size: the picture's height in pixels; None for the benchmark's own.
        every: environment steps per picture; None for about 20 pictures a second.
    """

    camera: str | None = None
    size: int | None = None
    every: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 16:
            raise ValueError(f"size is at least 16 pixels; got {self.size}")
        if self.every is not None and self.every < 1:
            raise ValueError(f"every is at least 1; got {self.every}")

    @property
    def label(self) -> str:
        """What tells its files from those of another view: `-corner3-512px`."""
        camera = "" if self.camera is None else f"-{self.camera}"
        size = "" if self.size is None else f"-{self.size}px"
        return camera + size + ("" if self.every is None else f"-every{self.every}")

    def options(self, cls: type[BenchmarkEnv], given: Mapping[str, Any]) -> dict[str, Any]:
        """The options to build a benchmark with so that it draws this.

        Raises:
            CapabilityMissing: it draws at one size only.
        """
        taken = {n: p.default for n, p in inspect.signature(cls).parameters.items()}
        options = dict(given)
        if self.camera is not None and "camera" in taken:
            options["camera"] = self.camera
        if self.size is None:
            return options
        if "size" in taken:
            return options | {"size": self.size}
        if "height" in taken and "width" in taken:
            height, width = (given.get(side, taken[side]) for side in ("height", "width"))
            return options | {"height": self.size, "width": round(self.size * width / height)}
        listed = ", ".join(sorted(taken)) or "none"
        raise CapabilityMissing(
            f"benchmark {cls.name!r} draws at one size only (options that its class takes: "
            f"{listed}); film it without a size"
        )

    def check(self, env: BenchmarkEnv) -> None:
        """Refuse a camera that the benchmark does not have.

        Raises:
            UnknownName: near matches are listed.
        """
        if self.camera is not None and self.camera not in env.info.cameras:
            raise unknown_name(f"{env.name} camera", self.camera, env.info.cameras)

    def picture(self, env: BenchmarkEnv) -> Image:
        """The present scene, uint8 (height, width, 3), whatever the policy was shown of it."""
        if self.camera is not None:
            return env.sense().images[self.camera]
        shown = env.frame()
        if self.size in (None, shown.shape[0]):
            return shown
        return next(iter(env.sense().images.values()))

    def stride(self, env: BenchmarkEnv) -> int:
        """Environment steps per picture."""
        return max(1, round(env.info.hz / _RATE)) if self.every is None else self.every
