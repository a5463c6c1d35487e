"""The process of one Ray actor: a policy, its environments, and a unit at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlascope.errors import VlascopeError
from vlascope.units.ray_fleet import Seat, enter
from vlascope.units.unit import PlayedUnit, Unit

if TYPE_CHECKING:
    from vlascope.units.player import Assignment, UnitPlayer

__all__ = ["UnitActor"]


class UnitActor:
    """Opens its policy when the first unit arrives, and keeps it."""

    def __init__(self, seat: Seat) -> None:
        enter(seat)
        self._seat = seat
        self._player: UnitPlayer | None = None

    def ready(self) -> bool:
        """Answered once this process is up."""
        return True

    def play(self, assignment: Assignment, unit: Unit) -> PlayedUnit:
        """Play a unit; an error of ours is handed over with what was finished before."""
        try:
            if self._player is None:
                self._player = self._opened()
            return self._player.play(assignment, unit)
        except VlascopeError as error:
            return PlayedUnit(unit.digest, (), {}, {}, (), error)

    def close(self) -> None:
        """End the environments."""
        if self._player is not None:
            self._player.close()
            self._player = None

    def _opened(self) -> UnitPlayer:
        import torch

        from vlascope.loading import load
        from vlascope.units.player import UnitPlayer

        seat = self._seat
        torch.set_num_threads(seat.threads)
        return UnitPlayer(
            load(**seat.load),
            seat.benchmark,
            workers=seat.workers,
            envs_per_worker=seat.envs_per_worker,
        )
