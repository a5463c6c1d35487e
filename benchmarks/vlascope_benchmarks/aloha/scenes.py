"""What differs between the two scenes: files, initial states, things and conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from gym_aloha.utils import sample_box_pose, sample_insertion_pose

from vlascope_benchmarks.aloha import conditions

__all__ = ["SCENES", "Float64", "Scene"]

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """One of gym-aloha's scenes.

    Attributes:
        file: the part of the model's file name that tells it apart.
        bodies: the loose things by the name people use, in the order of their joints.
        place: initial poses of the loose things from a seed, position and w-x-y-z quaternion each,
            end to end: float64 (7 * things,).
        judge: the package's reward and the named conditions, given who touches what.
    """

    file: str
    bodies: Mapping[str, str]
    place: Callable[[int], Float64]
    judge: Callable[[conditions.Touching], tuple[int, Mapping[str, bool]]]


def _place_cube(seed: int) -> Float64:
    return np.asarray(sample_box_pose(seed), dtype=np.float64)


def _place_peg_and_socket(seed: int) -> Float64:
    return np.concatenate(sample_insertion_pose(seed)).astype(np.float64)


SCENES: Mapping[str, Scene] = {
    "cube": Scene("transfer_cube", {"cube": "box"}, _place_cube, conditions.transfer_cube),
    "peg-and-socket": Scene(
        "insertion",
        {"peg": "peg", "socket": "socket"},
        _place_peg_and_socket,
        conditions.insertion,
    ),
}
"""Scenes by the name that tasks call them."""
