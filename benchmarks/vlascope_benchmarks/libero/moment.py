"""What a simulator looked like at one moment, kept apart so that it can be drawn later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mujoco

__all__ = ["Moment"]


class Moment:
    """A copy of a simulation's state and of the colours of its sites."""

    def __init__(self, sim: Any) -> None:
        self._sim = sim
        self.data = mujoco.MjData(sim.model._model)
        self._colours = sim.model.site_rgba.copy()
        self.keep()

    def keep(self) -> None:
        """Take over the present state."""
        mujoco.mj_copyData(self.data, self._sim.model._model, self._sim.data._data)
        self._colours[:] = self._sim.model.site_rgba

    @contextmanager
    def shown(self) -> Iterator[Any]:
        """The kept `mujoco.MjData`, for as long as the model's sites have its colours."""
        colours = self._sim.model.site_rgba
        present = colours.copy()
        colours[:] = self._colours
        try:
            yield self.data
        finally:
            colours[:] = present
