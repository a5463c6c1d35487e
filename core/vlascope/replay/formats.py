"""The formats in which episodes lie on disk or elsewhere, as plugins name them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, ClassVar

from vlascope import plugins
from vlascope.errors import CapabilityMissing, FileMissing, unknown_name
from vlascope.replay.dataset import Dataset, Frame, RecordedEpisode
from vlascope.specs import ActionSpec, CameraSpec, StateSpec
from vlascope.types import FloatArray

__all__ = ["DatasetFormat", "Exported", "Layout", "open_dataset"]


@dataclass(frozen=True)
class Layout:
    """What every frame of an export holds.

    Attributes:
        source: what was played, as text.
        hz: frames per second of simulated time.
        cameras, state, action: what the numbers mean; frames hold them under these names.
    """

    source: str
    hz: float
    cameras: Mapping[str, CameraSpec]
    state: Mapping[str, StateSpec]
    action: ActionSpec


@dataclass(frozen=True)
class Exported:
    """One episode to be written: its frames in order, and the action (dim,) taken from each."""

    episode: RecordedEpisode
    frames: Iterable[tuple[Frame, FloatArray]]


class DatasetFormat(ABC):
    """One way in which recorded episodes are kept; its module must be cheap to import."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def recognises(cls, where: str) -> bool:
        """Whether a path or an id looks like this format; without opening anything."""

    @classmethod
    @abstractmethod
    def open(cls, where: str) -> Dataset:
        """Open it for reading; a format may take options of its own, each with a default.

        Raises:
            FileMissing, CorruptFile: it is not there, or is not what it should be.
        """

    @classmethod
    def write(
        cls, out: Path, layout: Layout, episodes: Iterable[Exported], *, video: bool = True
    ) -> None:
        """Write a new dataset into the folder `out`, which does not exist yet.

        Args:
            out: the folder.
            layout: what every frame holds.
            episodes: in order, each to be read once.
            video: compress pictures as video; False keeps every pixel.
        """
        raise CapabilityMissing(f"datasets of format {cls.name!r} are read, not written")


def open_dataset(where: str, *, kind: str | None = None, **options: Any) -> Dataset:
    """Open recorded episodes of any registered format.

    Args:
        where: a folder, or an id that a format knows how to fetch.
        kind: the format; None for the first that recognises it.
        options: what else the format's `open` takes.

    Raises:
        UnknownName: no format, or option of its, goes by that name.
        FileMissing: no format recognises it.
    """
    cls = _recognising(where) if kind is None else plugins.dataset_format(kind)
    opened: Any = cls.open
    taken = signature(opened).parameters
    if not any(p.kind is Parameter.VAR_KEYWORD for p in taken.values()):
        known = list(taken)[1:]
        for option in options:
            if option not in known:
                raise unknown_name(f"option of datasets of format {cls.name!r}", option, known)
    return opened(where, **options)


def _recognising(where: str) -> type[DatasetFormat]:
    formats = {name: plugins.dataset_format(name) for name in plugins.datasets()}
    for cls in formats.values():
        if cls.recognises(where):
            return cls
    raise FileMissing(
        f"{where} looks like no dataset that is known here ({', '.join(formats)}): it is a folder "
        "that holds one, or an id such as owner/name"
    )
