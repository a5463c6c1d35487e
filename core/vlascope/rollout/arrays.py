"""The arrays of an episode: written by the run, read by reports."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from vlascope.errors import CorruptFile
from vlascope.records import EpisodeRecord
from vlascope.rollout.film import Strip
from vlascope.store.durable import write_atomically

__all__ = ["EpisodeArrays", "read_strip", "write_arrays"]

Array = npt.NDArray[Any]


class EpisodeArrays(Mapping[str, Array]):
    """`action` (steps, dim), `end_effector` and `object.<name>` (steps + 1, 3) of one episode.

    Positions are in metres in the world frame, row 0 before the first step. `state.<stream>`
    (steps + 1, n) is what the policy is told of the robot, in the stream's units (held between
    looks where the benchmark cannot tell it cheaply), `predicate.<name>` uint8 (steps + 1,)
    whether a condition holds (`vlascope.rollout.timelines.NOT_TOLD` where that was not said).
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = dict(arrays)

    @classmethod
    def load(cls, run_dir: str | Path, record: EpisodeRecord) -> EpisodeArrays:
        """The arrays a record points at; empty where its environment failed.

        Raises:
            CorruptFile: the file is gone, truncated or foreign; says what to do.
        """
        if record.arrays is None:
            return cls({})
        return cls(_load(Path(run_dir) / record.arrays))

    @property
    def actions(self) -> npt.NDArray[np.float32]:
        """Executed actions, float32 (steps, dim)."""
        return self["action"]

    @property
    def objects(self) -> dict[str, npt.NDArray[np.float32]]:
        """Object positions by name, (steps + 1, 3); NaN while a thing is not there."""
        prefix = "object."
        return {k.removeprefix(prefix): v for k, v in self.items() if k.startswith(prefix)}

    @property
    def states(self) -> dict[str, npt.NDArray[np.float32]]:
        """State streams by name, (steps + 1, n); empty in runs of earlier versions."""
        prefix = "state."
        return {k.removeprefix(prefix): v for k, v in self.items() if k.startswith(prefix)}

    @property
    def predicates(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Whether each condition holds, uint8 (steps + 1,); empty in runs of earlier versions."""
        prefix = "predicate."
        return {k.removeprefix(prefix): v for k, v in self.items() if k.startswith(prefix)}

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def read_strip(run_dir: str | Path, record: EpisodeRecord) -> Strip | None:
    """The film strip of an episode; None where it was not filmed.

    Raises:
        CorruptFile: the file is gone, truncated or foreign.
    """
    if record.frames is None:
        return None
    arrays = _load(Path(run_dir) / record.frames)
    return Strip(arrays["images"], arrays["steps"])


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write one safetensors file, whole or not at all."""
    write_atomically(path, save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))


def _load(path: Path) -> dict[str, Array]:
    try:
        return load_file(path)
    except (OSError, SafetensorError, struct.error, ValueError) as error:
        raise CorruptFile(
            f"{path} does not hold an episode's arrays: {error}; delete this episode's line from "
            "episodes.jsonl and run again to play it again"
        ) from error
