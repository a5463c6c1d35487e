"""When a feature is on, and what its episodes say of it (DrVLA, arXiv 2603.19183, section 4)."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["ON_ABOVE", "EpisodeTally", "Temporal", "count_onsets", "on_states"]

ON_ABOVE: Final = 0.1
"""A feature switches on above this, and off only at exactly 0."""


def on_states(trace: Float[Tensor, "t f"], threshold: float = ON_ABOVE) -> Bool[Tensor, "t f"]:
    """On above the threshold, off at exactly 0, else as at the time before; off before the first.

    The state is that of the last time that decided it, found by a running maximum over times.
    """
    times = torch.arange(len(trace), device=trace.device)[:, None]
    decided = torch.where((trace > threshold) | (trace == 0), times, -1)
    last = decided.cummax(0).values
    above = torch.gather(trace, 0, last.clamp_min(0)) > threshold
    return above & (last >= 0)


def count_onsets(states: Bool[Tensor, "t f"]) -> Int[Tensor, " f"]:
    """How often each feature went from off to on; it is off before the first time."""
    before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
    return (states & ~before).sum(0)


class Temporal(NamedTuple):
    """The four numbers of every feature, float64 (features,), that tell general from memorised.

    Attributes:
        coverage: |E+| / |E|, the share of episodes in which it fires at all.
        onsets: mean over E_on of the switches from off to on; 0 where E_on is empty.
        magnitude: mean over E+ of the episode's maximum; 0 where it never fires.
        run_length: mean over E_on of (times on / onsets) / T; 0 where E_on is empty.
    """

    coverage: npt.NDArray[np.float64]
    onsets: npt.NDArray[np.float64]
    magnitude: npt.NDArray[np.float64]
    run_length: npt.NDArray[np.float64]


class EpisodeTally:
    """Sums over episodes, one episode at a time: memory is a few numbers per feature."""

    def __init__(self, features: int, threshold: float = ON_ABOVE) -> None:
        self.episodes = 0
        self.threshold = threshold
        self.fired = torch.zeros(features, dtype=torch.int64)
        self.on = torch.zeros(features, dtype=torch.int64)
        self._onsets = torch.zeros(features, dtype=torch.int64)
        self._peaks = torch.zeros(features, dtype=torch.float64)
        self._runs = torch.zeros(features, dtype=torch.float64)

    def add(self, trace: Float[Tensor, "t f"]) -> None:
        """Take one whole episode, T times by features."""
        if not len(trace):
            return
        states = on_states(trace, self.threshold)
        onsets = count_onsets(states)
        mean_run = states.sum(0).double() / onsets.clamp_min(1) / len(trace)
        self.episodes += 1
        self.fired += (trace > 0).any(0)
        self.on += onsets > 0
        self._onsets += onsets
        self._peaks += trace.amax(0).clamp_min(0).double()
        self._runs += mean_run

    def result(self) -> Temporal:
        """Coverage, onsets, magnitude and run length so far."""
        fired, on = self.fired.clamp_min(1), self.on.clamp_min(1)
        return Temporal(
            (self.fired.double() / max(self.episodes, 1)).numpy(),
            (self._onsets.double() / on).numpy(),
            (self._peaks / fired).numpy(),
            (self._runs / on).numpy(),
        )
