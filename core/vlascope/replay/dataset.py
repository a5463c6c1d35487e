"""What a set of recorded episodes offers: features by name, episodes, frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy.typing as npt

from vlascope.specs import CameraSpec, StateSpec

__all__ = ["Dataset", "Features", "Frame", "Picture", "RecordedEpisode", "Vector"]


@dataclass(frozen=True)
class Picture:
    """A feature of pictures, uint8 (height, width, 3); `meaning` where it is known."""

    height: int
    width: int
    meaning: CameraSpec | None = None


@dataclass(frozen=True)
class Vector:
    """A feature of numbers, float32 (len(names),); `meaning` where it is known."""

    names: tuple[str, ...]
    meaning: StateSpec | None = None


@dataclass(frozen=True)
class Features:
    """Everything that a frame holds, by feature name."""

    pictures: Mapping[str, Picture]
    vectors: Mapping[str, Vector]


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode that somebody recorded.

    Attributes:
        name: unique in its dataset; the episode's name in moments and stores.
        task: what is done, by name; the instruction where tasks have no other name.
        instruction: what is said when it begins.
        steps: environment steps, that is frames from which an action was taken.
        seed: decides the policy's noise.
        labels: what else is known of it.
    """

    name: str
    task: str
    instruction: str
    steps: int
    seed: int
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Frame:
    """What was there before one environment step: `values` by feature name, and the prompt."""

    step: int
    instruction: str
    values: Mapping[str, npt.NDArray[Any]]


class Dataset(ABC):
    """Recorded episodes, read frame by frame.

    Attributes:
        name: where they come from, for provenance.
        features: what a frame can hold.
        episodes: all of them, in order.
    """

    name: str
    features: Features
    episodes: Sequence[RecordedEpisode]

    @abstractmethod
    def frames(
        self, episode: RecordedEpisode, steps: Sequence[int], features: Collection[str]
    ) -> Iterator[Frame]:
        """The frames at `steps` (ascending), with these features and no others."""

    def steps(self, episode: RecordedEpisode, stride: int) -> Sequence[int]:
        """The steps at which a policy that executes `stride` actions a chunk would look."""
        return range(0, episode.steps, stride)

    def close(self) -> None:  # noqa: B027
        """Free what is open; closing twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
