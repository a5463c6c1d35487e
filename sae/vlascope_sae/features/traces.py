"""What every feature did at every instant of an episode, stored where it is not 0."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vlascope.errors import CorruptFile

__all__ = ["Trace", "column_of", "fired_at", "pack"]


class Trace(NamedTuple):
    """One episode: `when` int32 (instants, 2), step and chunk; values (instants, features).

    A value is the largest over the tokens and the calls of its instant.
    """

    when: npt.NDArray[np.int32]
    values: Float[Tensor, "t f"]


def pack(trace: Trace) -> dict[str, Tensor]:
    """Sorted by feature, then time: feature i's entries are `start[i]` to `start[i + 1]`."""
    feature, instant = trace.values.T.nonzero(as_tuple=True)
    counts = torch.bincount(feature, minlength=trace.values.shape[1])
    return {
        "when": torch.from_numpy(np.ascontiguousarray(trace.when)),
        "start": torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)]).int(),
        "instant": instant.int(),
        "value": trace.values[instant, feature],
    }


def column_of(path: Path, feature: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """`when` and the values of one feature, dense; reads its part of the file only.

    Raises:
        CorruptFile: the file is gone or no trace.
    """
    try:
        with safe_open(path, "numpy") as file:
            when = file.get_tensor("when")
            start, stop = file.get_slice("start")[feature : feature + 2].tolist()
            values = np.zeros(len(when), np.float32)
            if stop > start:
                values[file.get_slice("instant")[start:stop]] = file.get_slice("value")[start:stop]
    except (OSError, SafetensorError, ValueError) as error:
        raise _broken(path, error) from error
    return when, values


def fired_at(path: Path) -> Float[Tensor, "t f"]:
    """1 where a feature fired at an instant, else 0.

    Raises:
        CorruptFile: the file is gone or no trace.
    """
    try:
        with safe_open(path, "pt") as file:
            start, instant = file.get_tensor("start").long(), file.get_tensor("instant").long()
            times = len(file.get_tensor("when"))
    except (OSError, SafetensorError, ValueError) as error:
        raise _broken(path, error) from error
    fired = torch.zeros(times, len(start) - 1)
    feature = torch.repeat_interleave(torch.arange(len(start) - 1), start.diff())
    fired[instant, feature] = 1.0
    return fired


def _broken(path: Path, error: Exception) -> CorruptFile:
    return CorruptFile(f"{path} does not hold an episode's trace: {error}; build the index again")
