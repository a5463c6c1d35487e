"""Moving an activation along a direction, or out of it, or holding neurons at a value."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, SerializeAsAny, field_validator, model_validator
from torch import Tensor

from vlascope.errors import IncompatibleError, MisalignedActivations
from vlascope.hooks import Firing, HookPoint, Moment
from vlascope.interventions.intervention import Intervention
from vlascope.interventions.named import (
    DirectionField,
    NamedVectors,
    check_vectors,
    one_direction,
    rows_of,
    unit_rows,
)
from vlascope.types import Observation

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo

__all__ = ["Clamp", "ProjectOut", "RandomDirection", "Steer"]


class Steer(Intervention):
    """Add alpha times a unit direction to every token: y' = y + alpha v (arXiv 2603.19183).

    Attributes:
        direction: `{file: PATH, name: NAME}` (see `vlascope.directions`) or (width,) numbers,
            scaled to unit norm on use.
        strength: alpha, in residual units, or as a multiple of each token's own norm.
        relative: whether `strength` is such a multiple.
        steps: as for every edit; `[t0, 100000]` steers from environment step t0 on.
    """

    kind: ClassVar[str] = "steer"
    direction: DirectionField
    strength: Annotated[float, Field(allow_inf_nan=False)]
    relative: bool = False

    @field_validator("direction")
    @classmethod
    def _one_direction(cls, value: Tensor | NamedVectors) -> Tensor | NamedVectors:
        return one_direction(value)

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """Shift along the direction."""
        unit = _fitting(unit_rows(self.direction)[0], activation, firing.point).to(activation)
        scale = activation.norm(dim=-1, keepdim=True) if self.relative else 1.0
        return activation + self.strength * scale * unit

    def check(self, info: AdapterInfo, points: Sequence[HookPoint]) -> None:
        """The direction's own site and width."""
        check_vectors(self.direction, info, points)


class ProjectOut(Intervention):
    """Remove the component within a subspace: y' = y - U U^T y.

    Attributes:
        directions: `{file: PATH, name: NAME}` of a direction or subspace, or numbers, (width,) or
            (k, width); orthonormalised on use. May be written `direction`.
    """

    kind: ClassVar[str] = "project_out"
    directions: DirectionField

    @model_validator(mode="before")
    @classmethod
    def _singular(cls, data: Any) -> Any:
        if isinstance(data, dict) and "direction" in data and "directions" not in data:
            return {("directions" if k == "direction" else k): v for k, v in data.items()}
        return data

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """The rest of the activation."""
        rows = _fitting(rows_of(self.directions), activation, firing.point)
        frame = torch.linalg.qr(rows.double().T)[0].to(activation)
        return activation - (activation @ frame) @ frame.T

    def check(self, info: AdapterInfo, points: Sequence[HookPoint]) -> None:
        """The directions' own site and width."""
        check_vectors(self.directions, info, points)


class Clamp(Intervention):
    """Hold some neurons at a value, all tokens, every call (arXiv 2509.00328).

    Attributes:
        neurons: indices into the last dimension (FFN neurons at `mlp_act`).
        value: what they are held at.
    """

    kind: ClassVar[str] = "clamp"
    neurons: Annotated[tuple[int, ...], Field(min_length=1)]
    value: float

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """The activation with those neurons overwritten."""
        width = activation.shape[-1]
        outside = [n for n in self.neurons if not 0 <= n < width]
        if outside:
            raise MisalignedActivations(f"{firing.point} has {width} neurons; no {outside}")
        held = activation.clone()
        held[..., list(self.neurons)] = self.value
        return held

    def check(self, info: AdapterInfo, points: Sequence[HookPoint]) -> None:
        """Neurons that are not there are refused, where the width is declared."""
        for point in points:
            width = info.pathway(point.pathway).width_at(point.site, point.layer)
            outside = [n for n in self.neurons if width is not None and not 0 <= n < width]
            if outside:
                raise IncompatibleError(
                    f"{point} of {info.name} has {width} neurons; there are no {outside}"
                )


class RandomDirection(Intervention):
    """Control: move as far as another edit would, but in a meaningless direction.

    Each token moves along a random unit direction that depends on `seed`, the hook point, and,
    with `per="token"`, the token's position; never on the episode or the call.

    Attributes:
        like: the edit whose per-token ||dx|| is matched; or
        strength: the norm to move by, as a multiple of each token's own norm.
    """

    kind: ClassVar[str] = "random_direction"
    like: SerializeAsAny[Intervention] | None = None
    strength: float | None = None
    seed: int = 0
    per: Literal["token", "point"] = "token"

    @field_validator("like", mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        from vlascope.interventions.parse import parse_intervention

        return parse_intervention(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _exactly_one_norm(self) -> Self:
        if (self.like is None) == (self.strength is None):
            raise ValueError("give either `like` (an edit to match) or `strength`, not both")
        return self

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """Shift along the random direction by the matched norm."""
        if self.like is not None:
            moved = self.like.edit(activation, firing) - activation
            norm = moved.norm(dim=-1, keepdim=True)
        else:
            assert self.strength is not None  # the validator saw to it
            norm = self.strength * activation.norm(dim=-1, keepdim=True)
        return activation + norm * self._direction(firing.point, activation)

    def check(self, info: AdapterInfo, points: Sequence[HookPoint]) -> None:
        """What the matched edit refuses is refused."""
        if self.like is not None:
            self.like.check(info, points)

    def observe(
        self, moments: Sequence[Moment], observations: Sequence[Observation], info: AdapterInfo
    ) -> None:
        """Passed on, so that a matched controller runs on what this edit leads to."""
        if self.like is not None:
            self.like.observe(moments, observations, info)

    def forget(self, episode: str) -> None:
        """Passed on."""
        if self.like is not None:
            self.like.forget(episode)

    def log(self, episode: str) -> Mapping[str, npt.NDArray[np.float32]]:
        """The matched edit's."""
        return {} if self.like is None else self.like.log(episode)

    def concerns(self, point: HookPoint, moment: Moment) -> bool:
        """Only where the matched edit acts too."""
        if not super().concerns(point, moment):
            return False
        return self.like is None or self.like.concerns(point, moment)

    def _direction(self, point: HookPoint, like: Tensor) -> Tensor:
        tokens, width = like.shape[-2:]
        digest = hashlib.sha256(f"{self.seed}/{point}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
        drawn = torch.randn((tokens if self.per == "token" else 1, width), generator=generator)
        return _unit(drawn).to(like)


def _unit(vector: Tensor) -> Tensor:
    """Scaled to norm 1 along the last dimension; zero stays zero."""
    vector = vector.float()
    return vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def _fitting(vector: Tensor, activation: Tensor, point: HookPoint) -> Tensor:
    if vector.shape[-1] != activation.shape[-1]:
        raise MisalignedActivations(
            f"the direction is {vector.shape[-1]} wide, {point} is {activation.shape[-1]}"
        )
    return vector
