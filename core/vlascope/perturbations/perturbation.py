"""What every perturbation has in common: where and when it acts, and that it is plain data."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from vlascope.errors import unknown_name
from vlascope.specs import CameraSpec
from vlascope.types import Image

__all__ = ["Look", "Perturbation", "PictureEdit"]

Severity = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, eq=False)
class Look:
    """The moment at which pictures are perturbed.

    Attributes:
        step: environment steps played so far.
        seed: the episode's.
        position: which perturbation of the list this is.
        first: the pictures this perturbation was given at the episode's first look.
    """

    step: int
    seed: int
    position: int
    first: Mapping[str, Image]

    def rng(self, *what: str) -> np.random.Generator:
        """Randomness of this step: the same for the same seed, step, position and words."""
        return self._rng(self.step + 1, *what)

    def episode_rng(self, *what: str) -> np.random.Generator:
        """Randomness that stays as it is for the whole episode."""
        return self._rng(0, *what)

    def _rng(self, step: int, *what: str) -> np.random.Generator:
        words = (zlib.crc32(word.encode()) for word in what)
        return np.random.default_rng([self.seed % 2**63, self.position, step, *words])


class Perturbation(BaseModel, ABC):
    """A change of what the policy sees, from all cameras at once.

    A frozen pydantic model: `model_dump` and `parse_perturbation` are exact inverses. It keeps
    nothing between looks, so one instance serves any number of episodes. Subclasses set `kind`
    (their registered name) and write `change`, or derive from `PictureEdit`.

    Attributes:
        severity: 0 leaves every picture as it is, 1 is the strongest. Kinds that have no degrees
            (`by_share`) act at this share of looks, drawn by seed and step.
        cameras: globs of camera names.
        steps: half-open range of environment steps at which looks are perturbed (None: all).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    by_share: ClassVar[bool] = False

    severity: Severity = 1.0
    cameras: tuple[str, ...] = ("*",)
    steps: tuple[Annotated[int, Field(ge=0)], int] | None = None

    @model_validator(mode="before")
    @classmethod
    def _check_kind(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "kind" not in data:
            return data
        if data["kind"] != cls.kind:
            raise ValueError(f"this is a {data['kind']!r}, not a {cls.kind!r}")
        return {key: value for key, value in data.items() if key != "kind"}

    @model_validator(mode="after")
    def _steps_begin_before_they_end(self) -> Perturbation:
        if self.steps is not None and self.steps[0] >= self.steps[1]:
            raise ValueError(f"steps {list(self.steps)} hold no step: give [first, end)")
        return self

    @model_serializer(mode="wrap")
    def _write_kind(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"kind": self.kind, **fields(self)}

    @field_validator("cameras", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @abstractmethod
    def change(self, pictures: Mapping[str, Image], look: Look) -> Mapping[str, Image]:
        """The pictures that differ, by camera, each of the shape and dtype it had.

        Must not write in place; what is left out stays as it is. Called with all cameras'
        pictures at looks that `steps` and the share admit; cameras that `cameras` does not name
        are left alone whatever is returned.
        """

    def apply(self, pictures: Mapping[str, Image], look: Look) -> dict[str, Image]:
        """Every camera's picture as the policy shall see it."""
        if not self._acts(look):
            return dict(pictures)
        changed = self.change(pictures, look)
        return {c: changed.get(c, p) if self.concerns(c) else p for c, p in pictures.items()}

    def due(self, step: int) -> bool:
        """Whether looks at this step are among those to be perturbed."""
        return self.steps is None or self.steps[0] <= step < self.steps[1]

    def concerns(self, camera: str) -> bool:
        """Whether this camera is among those named."""
        return any(fnmatchcase(camera, glob) for glob in self.cameras)

    def check(self, cameras: Mapping[str, CameraSpec]) -> None:
        """Refuse a benchmark on which this perturbation means nothing.

        Raises:
            UnknownName: a glob names no camera.
            IncompatibleError: the cameras do not allow it; says why.
        """
        for glob in self.cameras:
            if not any(fnmatchcase(camera, glob) for camera in cameras):
                raise unknown_name("camera", glob, cameras)

    def _acts(self, look: Look) -> bool:
        if not self.due(look.step):
            return False
        return not self.by_share or bool(look.rng("acts").random() < self.severity)


class PictureEdit(Perturbation):
    """A perturbation that treats every picture by itself."""

    @abstractmethod
    def edit(self, picture: Image, look: Look, camera: str) -> Image:
        """The picture as it shall be seen; must not write in place."""

    def change(self, pictures: Mapping[str, Image], look: Look) -> Mapping[str, Image]:
        """Edit the cameras that are named."""
        return {c: self.edit(p, look, c) for c, p in pictures.items() if self.concerns(c)}
