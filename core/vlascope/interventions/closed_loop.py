"""Steering with feedback: the strength follows a measured quantity, so that it stays put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PrivateAttr, field_validator, model_validator
from torch import Tensor

from vlascope.errors import MisalignedActivations
from vlascope.hooks import Firing, HookPoint, Moment
from vlascope.interventions.intervention import Intervention
from vlascope.interventions.measured import Position, reader_for
from vlascope.interventions.named import (
    DirectionField,
    NamedVectors,
    check_vectors,
    one_direction,
    unit_rows,
)

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo
    from vlascope.types import Observation

__all__ = ["SteerTo"]

Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass
class _Loop:
    """The controller's memory of one episode, and what it did."""

    alpha: float
    integral: float = 0.0
    before: Position | None = None
    before_step: int = 0
    rows: list[tuple[float, float, float]] = field(default_factory=list)


class SteerTo(Intervention):
    """Hold a measured quantity at a set point by adjusting the strength of a direction (PI).

    Before every inference k with error e_k = target - measured,

        alpha_k = clip(start + gain e_k + integral (e_1 + ... + e_k), limits),

    and y' = y + alpha_k v for all tokens and calls of that chunk. While alpha is at a limit the
    sum grows no further towards it (conditional integration, against wind-up). Where nothing can
    be measured yet, alpha is `start`.

    Attributes:
        direction: as in `Steer`; raising alpha should raise the quantity (else `gain` < 0).
        quantity: `speed` or `height` of the hand, or a state number as `stream.number`.
        target: the set point, in the quantity's unit (m/s, m).
        gain: alpha per unit of error; `integral`: alpha per unit of summed error.
        limits: smallest and largest alpha.
        start: alpha at no error.
        relative: whether alpha is a multiple of each token's own norm.
        hz: environment steps per second; needed for `speed`.
    """

    kind: ClassVar[str] = "steer_to"
    direction: DirectionField
    quantity: str
    target: Finite
    gain: Finite
    integral: Finite = 0.0
    limits: tuple[Finite, Finite] = (-1.0, 1.0)
    start: Finite = 0.0
    relative: bool = True
    hz: Annotated[float, Field(gt=0)] | None = None
    _loops: dict[str, _Loop] = PrivateAttr(default_factory=dict)

    @field_validator("direction")
    @classmethod
    def _one_direction(cls, value: Tensor | NamedVectors) -> Tensor | NamedVectors:
        return one_direction(value)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        low, high = self.limits
        if not low < high or not low <= self.start <= high:
            raise ValueError(f"limits are low < high with start between; got {low}, {high}")
        if self.gain * self.integral < 0 or self.gain == self.integral == 0:
            raise ValueError("gain and integral have one sign, and at least one is not 0")
        if self.quantity == "speed" and self.hz is None:
            raise ValueError("a speed needs `hz`, the environment's steps per second")
        return self

    def check(self, info: AdapterInfo, points: Sequence[HookPoint]) -> None:
        """The direction's site and width, and that the quantity can be read."""
        check_vectors(self.direction, info, points)
        reader_for(self.quantity, info.state)

    def observe(
        self, moments: Sequence[Moment], observations: Sequence[Observation], info: AdapterInfo
    ) -> None:
        """Measure every row, and set its strength for this chunk."""
        reader = reader_for(self.quantity, info.state)
        for moment, observation in zip(moments, observations, strict=True):
            if moment.chunk == 0 or moment.episode not in self._loops:
                self._loops[moment.episode] = _Loop(self.start)
            loop = self._loops[moment.episode]
            now = reader.position(observation)
            seconds = None if self.hz is None else (moment.step - loop.before_step) / self.hz
            measured = reader.value(now, loop.before, seconds)
            loop.before, loop.before_step = now, moment.step
            acting = self.steps is None or self.steps[0] <= moment.step < self.steps[1]
            if acting and measured is not None:
                self._regulate(loop, measured)
            alpha = loop.alpha if acting else 0.0
            loop.rows.append((moment.step, np.nan if measured is None else measured, alpha))

    def forget(self, episode: str) -> None:
        """The controller's memory of an episode."""
        self._loops.pop(episode, None)

    def log(self, episode: str) -> Mapping[str, npt.NDArray[np.float32]]:
        """By inference: `step`, `measured` (NaN at first for a speed), `alpha`."""
        rows = np.array(self._loops[episode].rows if episode in self._loops else [], np.float32)
        rows = rows.reshape(-1, 3)
        return {name: rows[:, i].copy() for i, name in enumerate(("step", "measured", "alpha"))}

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """Shift each row along the direction by its own strength."""
        unit = unit_rows(self.direction)[0].to(activation)
        if len(unit) != activation.shape[-1]:
            raise MisalignedActivations(
                f"the direction is {len(unit)} wide, {firing.point} is {activation.shape[-1]}"
            )
        alphas = [
            self._loops[m.episode].alpha if m.episode in self._loops else self.start
            for m in firing.moments
        ]
        alpha = torch.tensor(alphas).to(activation)[:, None, None]
        scale = activation.norm(dim=-1, keepdim=True) if self.relative else 1.0
        return activation + alpha * scale * unit

    def _regulate(self, loop: _Loop, measured: float) -> None:
        """One step of the controller."""
        error = self.target - measured
        low, high = self.limits
        wanted = self.start + self.gain * error + self.integral * (loop.integral + error)
        if low <= wanted <= high or (wanted > high) != (self.integral * error > 0):
            loop.integral += error
        wanted = self.start + self.gain * error + self.integral * loop.integral
        loop.alpha = float(np.clip(wanted, low, high))
