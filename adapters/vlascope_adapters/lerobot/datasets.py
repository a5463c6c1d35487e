"""LeRobotDataset v3 through lerobot's own loader and writer."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vlascope.errors import CapabilityMissing, CorruptFile, FileMissing, IncompatibleError
from vlascope.replay.dataset import Dataset, Features, Frame, Picture, RecordedEpisode, Vector
from vlascope.replay.formats import DatasetFormat, Exported, Layout

__all__ = ["LeRobotEpisodes", "LeRobotFormat"]

_INFO = Path("meta/info.json")
_OURS = Path("meta/vlascope.json")
"""What lerobot's layout has no place for: names, seeds and labels of exported episodes."""

_ID = re.compile(r"[\w.-]+/[\w.-]+")
_PICTURE, _STATE, _ACTION = "observation.images.", "observation.state", "action"
_OTHER = ("timestamp", _ACTION)
_CRF = 12
"""H.264 quality of exported videos; lower is closer to what was rendered."""


class LeRobotFormat(DatasetFormat):
    """A folder with `meta/info.json`, or `owner/name` on the hub."""

    name: ClassVar[str] = "lerobot"

    @classmethod
    def recognises(cls, where: str) -> bool:
        """Whether it is such a folder, or no folder and looks like an id."""
        if Path(where).exists():
            return (Path(where) / _INFO).is_file()
        return _ID.fullmatch(where) is not None

    @classmethod
    def open(
        cls, where: str, *, revision: str | None = None, video_backend: str | None = None
    ) -> LeRobotEpisodes:
        """Open a dataset; one on the hub is fetched episode by episode, as they are read.

        Args:
            where: a folder or an id.
            revision: a branch, tag or commit on the hub.
            video_backend: `torchcodec` or `pyav`; None for what lerobot chooses.
        """
        return LeRobotEpisodes(where, revision=revision, video_backend=video_backend)

    @classmethod
    def write(
        cls, out: Path, layout: Layout, episodes: Iterable[Exported], *, video: bool = True
    ) -> None:
        """Write with lerobot's own writer: H.264 video per camera, one `observation.state`.

        Without video, and for cameras of odd size, pictures are PNGs in the table itself.

        Raises:
            IncompatibleError: the frame rate is no whole number, which the format needs.
        """
        _need()
        from lerobot.configs.video import RGBEncoderConfig
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        fps = round(layout.hz)
        if abs(fps - layout.hz) > 1e-3 * layout.hz:
            raise IncompatibleError(
                f"LeRobotDataset holds whole frames per second; {layout.source} runs at {layout.hz}"
            )
        dataset = LeRobotDataset.create(
            f"local/{out.name.strip('.')}",
            fps,
            _layout_features(layout, video),
            root=out,
            use_videos=video,
            robot_type=layout.source.split(" ")[0],
            rgb_encoder=RGBEncoderConfig(vcodec="h264", crf=_CRF),
        )
        about = []
        for exported in episodes:
            for frame, action in exported.frames:
                dataset.add_frame(_row(frame, action, layout))
            dataset.save_episode(parallel_encoding=False)
            e = exported.episode
            about.append({"name": e.name, "task": e.task, "seed": e.seed, "labels": {**e.labels}})
        dataset.finalize()
        found = {"schema": "vlascope.export/1", "source": layout.source, "episodes": about}
        (out / _OURS).write_text(json.dumps(found, indent=1))


class LeRobotEpisodes(Dataset):
    """The episodes of one LeRobotDataset v3."""

    def __init__(
        self, where: str, *, revision: str | None = None, video_backend: str | None = None
    ) -> None:
        _need()
        self._local = Path(where).resolve() if Path(where).exists() else None
        if self._local is not None and not (self._local / _INFO).is_file():
            raise FileMissing(f"{where} is no LeRobotDataset: it has no {_INFO}")
        self._id = where if self._local is None else f"local/{self._local.name}"
        self._revision, self._backend = revision, video_backend
        meta = self._metadata()
        self.name = f"LeRobotDataset {where}" + (f"@{revision}" if revision else "")
        self.features = Features(*_features(meta.features))
        self._all: Any = None
        self._first = [int(i) for i in meta.episodes["dataset_from_index"]]
        self.episodes = self._described(meta)
        self._index = {episode.name: i for i, episode in enumerate(self.episodes)}

    def frames(
        self, episode: RecordedEpisode, steps: Sequence[int], features: Collection[str]
    ) -> Iterator[Frame]:
        """Decoded one by one."""
        index = self._index[episode.name]
        rows, first = self._rows(index)
        for step in steps:
            item = rows[first + step]
            values = {name: _value(item[name], self.features, name) for name in features}
            yield Frame(step, str(item["task"]), values)

    def _rows(self, index: int) -> tuple[Any, int]:
        """A loader, and where the episode begins in it."""
        if self._local is None:
            return self._loader([index]), 0
        if self._all is None:
            self._all = self._loader(None)
        return self._all, self._first[index]

    def _loader(self, episodes: list[int] | None) -> Any:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        return LeRobotDataset(
            self._id,
            root=self._local,
            episodes=episodes,
            revision=self._revision,
            video_backend=self._backend,
            return_uint8=True,
        )

    def _metadata(self) -> Any:
        from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata

        try:
            return LeRobotDatasetMetadata(self._id, self._local, self._revision)
        except Exception as error:
            where = self._local or f"{self._id} on the hub"
            raised = CorruptFile if self._local is not None else FileMissing
            raise raised(
                f"{where} does not open as a LeRobotDataset v3: {type(error).__name__}: {error}"
            ) from error

    def _described(self, meta: Any) -> tuple[RecordedEpisode, ...]:
        ours: list[dict[str, Any]] = []
        if self._local is not None and (self._local / _OURS).is_file():
            ours = json.loads((self._local / _OURS).read_text())["episodes"]
        lengths, tasks = meta.episodes["length"], meta.episodes["tasks"]
        found = []
        for i, (length, told) in enumerate(zip(lengths, tasks, strict=True)):
            about = ours[i] if i < len(ours) else {}
            told = told[0] if len(told) else ""
            found.append(
                RecordedEpisode(
                    name=about.get("name", f"episode-{i:06d}"),
                    task=about.get("task", told),
                    instruction=told,
                    steps=int(length),
                    seed=about.get("seed", i),
                    labels=about.get("labels", {}),
                )
            )
        return tuple(found)


def _need() -> None:
    """Refuse, saying what to install, where lerobot's dataset extra is missing."""
    try:
        import datasets  # noqa: F401
        import lerobot.datasets.lerobot_dataset  # noqa: F401
    except ImportError as error:
        raise CapabilityMissing(
            f"reading and writing LeRobotDatasets needs lerobot's dataset extra ({error}): "
            "pip install 'lerobot[dataset]==0.6.1'"
        ) from error


def _features(
    found: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Picture], dict[str, Vector]]:
    pictures: dict[str, Picture] = {}
    vectors: dict[str, Vector] = {}
    for name, feature in found.items():
        shape = tuple(feature["shape"])
        if feature["dtype"] in ("image", "video"):
            channels, height, width = shape if shape[0] in (1, 3) else (shape[2], *shape[:2])
            if channels == 3:
                pictures[name] = Picture(height, width)
        elif feature["dtype"] in ("float32", "float64") and len(shape) == 1 and name not in _OTHER:
            vectors[name] = Vector(_names(feature.get("names"), shape[0]))
    return pictures, vectors


def _names(given: Any, n: int) -> tuple[str, ...]:
    """One name per number: as given, whether plain or under a heading, else 0, 1, ..."""
    if isinstance(given, Mapping):
        lists = [v for v in given.values() if isinstance(v, list | tuple)]
        given = [name for names in lists for name in names] if lists else list(given)
    if isinstance(given, list | tuple) and len(given) == n:
        return tuple(map(str, given))
    return tuple(map(str, range(n)))


def _value(value: Any, features: Features, name: str) -> npt.NDArray[Any]:
    """A picture as uint8 (height, width, 3), numbers as float32 (n,)."""
    array = value.numpy()
    if name not in features.pictures:
        return np.atleast_1d(array.astype(np.float32))
    if array.dtype != np.uint8:
        array = np.round(255 * array).astype(np.uint8)
    return np.ascontiguousarray(array.transpose(1, 2, 0))


def _layout_features(layout: Layout, video: bool) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for camera, spec in layout.cameras.items():
        even = spec.height % 2 == spec.width % 2 == 0
        found[_PICTURE + camera] = {
            "dtype": "video" if video and even else "image",
            "shape": (spec.height, spec.width, 3),
            "names": ["height", "width", "channels"],
        }
    numbers = [f"{stream}.{n}" for stream, spec in layout.state.items() for n in spec.names]
    if numbers:
        found[_STATE] = {"dtype": "float32", "shape": (len(numbers),), "names": numbers}
    names = list(layout.action.names)
    found[_ACTION] = {"dtype": "float32", "shape": (len(names),), "names": names}
    return found


def _row(frame: Frame, action: npt.NDArray[np.float32], layout: Layout) -> dict[str, Any]:
    row: dict[str, Any] = {_PICTURE + c: frame.values[c] for c in layout.cameras}
    if layout.state:
        row[_STATE] = np.concatenate([frame.values[s] for s in layout.state]).astype(np.float32)
    return {**row, _ACTION: np.asarray(action, np.float32), "task": frame.instruction}
