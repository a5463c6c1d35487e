"""Reading a feature index: tables of all features, and everything of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from vlascope.errors import CorruptFile, FileMissing, UnknownName
from vlascope.hooks import Moment
from vlascope_sae.features.hysteresis import Temporal
from vlascope_sae.features.schema import (
    ABOUT,
    EPISODES,
    FEATURES,
    MOMENTS,
    PHASES,
    PROFILES,
    SCHEMA,
    IndexManifest,
    trace_file,
)
from vlascope_sae.features.traces import column_of

__all__ = ["Episode", "EpisodeTrace", "FeatureIndex", "Group", "TopMoment"]

_FIX = "build it again with `vlascope features index`"


class TopMoment(NamedTuple):
    """A moment at which a feature was strong; token and span are its strongest token's.

    `span` is None where no span covers the token; the token is -1 where tokens were pooled.
    """

    value: float
    moment: Moment
    token: int
    span: str | None


class Episode(NamedTuple):
    """One episode read: its name, task, number of instants, and all its labels."""

    name: str
    task: str
    instants: int
    labels: dict[str, Any]


class EpisodeTrace(NamedTuple):
    """One feature over one episode: `steps` and `chunks` int32 (t,), `values` float32 (t,)."""

    episode: Episode
    steps: npt.NDArray[np.int32]
    chunks: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]


class Group(NamedTuple):
    """What a feature did in the rows of one task, or of one third of the episodes."""

    name: str
    rows: int
    firing_rate: float
    mean: float
    max: float


@dataclass(frozen=True, eq=False)
class FeatureIndex:
    """What every feature of one autoencoder did in one store; made by `build_index`."""

    path: Path
    manifest: IndexManifest

    @classmethod
    def open(cls, path: str | Path) -> FeatureIndex:
        """Open an index.

        Raises:
            FileMissing: there is none.
            CorruptFile: it is something else, or of another version.
        """
        path = Path(path)
        about = path / ABOUT
        if not about.exists():
            raise FileMissing(f"{path} is no feature index: it has no {ABOUT}; {_FIX}")
        try:
            manifest = IndexManifest.model_validate_json(about.read_bytes())
        except ValidationError as error:
            raise CorruptFile(
                f"{about} is {_schema_of(about)} and not {SCHEMA} "
                f"({error.errors()[0]['msg']}); {_FIX}"
            ) from error
        return cls(path, manifest)

    def column(self, name: str) -> npt.NDArray[Any]:
        """One number of every feature, (features,): `firing_rate`, `max`, `coverage`, ...

        Raises:
            UnknownName: there is no such column; says which there are.
        """
        if name not in self._features.column_names:
            known = ", ".join(self._features.column_names)
            raise UnknownName(f"no column of a feature index is named {name!r}; there is: {known}")
        return self._features[name].to_numpy()

    @property
    def alive(self) -> npt.NDArray[np.bool_]:
        """Which features fired at all."""
        return self.column("fired") > 0

    @property
    def temporal(self) -> Temporal:
        """The four numbers of every feature that tell general from memorised."""
        return Temporal(*(self.column(name) for name in Temporal._fields))

    @cached_property
    def episodes(self) -> tuple[Episode, ...]:
        """Every episode read, in order."""
        rows = self._table(EPISODES).to_pylist()
        return tuple(
            Episode(r["episode"], r["task"], r["instants"], json.loads(r["labels"])) for r in rows
        )

    def top(self, feature: int) -> list[TopMoment]:
        """Its strongest moments, strongest first."""
        self._check(feature)
        rows = self._table(MOMENTS, [("feature", "=", feature)]).to_pylist()
        return [
            TopMoment(
                r["value"],
                Moment(r["episode"], r["step"], r["chunk"], r["call"]),
                r["token"],
                r["span"],
            )
            for r in rows
        ]

    def traces(self, feature: int) -> Iterator[EpisodeTrace]:
        """What it did in every episode: the largest over tokens and calls at every instant."""
        self._check(feature)
        for number, episode in enumerate(self.episodes):
            when, values = column_of(self.trace_path(number), feature)
            yield EpisodeTrace(episode, when[:, 0], when[:, 1], values)

    def by_task(self, feature: int) -> list[Group]:
        """What it did in each task."""
        return self._groups("task", self.manifest.tasks, feature)

    def by_phase(self, feature: int) -> list[Group]:
        """What it did in each third of the episodes."""
        return self._groups("phase", PHASES, feature)

    def histogram(self, feature: int) -> npt.NDArray[np.int64]:
        """How often it fired with a value of each power of two (see `profiles.BINS`)."""
        self._check(feature)
        return self._profiles["histogram"][feature]

    def trace_path(self, episode: int) -> Path:
        """The file of the episode of that number."""
        return self.path / trace_file(episode)

    def _groups(self, kind: str, names: tuple[str, ...], feature: int) -> list[Group]:
        self._check(feature)
        rows, fired, total, largest = (
            self._profiles[f"{kind}.{part}"] for part in ("rows", "fired", "total", "largest")
        )
        return [
            Group(
                name,
                int(rows[i]),
                float(fired[i, feature] / rows[i]),
                float(total[i, feature] / rows[i]),
                float(largest[i, feature]),
            )
            for i, name in enumerate(names)
            if rows[i]
        ]

    def _check(self, feature: int) -> None:
        if not 0 <= feature < self.manifest.features:
            raise UnknownName(
                f"no feature {feature} in {self.path}: it has 0 to {self.manifest.features - 1}"
            )

    @cached_property
    def _features(self) -> pa.Table:
        return self._table(FEATURES)

    @cached_property
    def _profiles(self) -> dict[str, npt.NDArray[Any]]:
        try:
            return load_file(self.path / PROFILES)
        except (OSError, SafetensorError) as error:
            raise CorruptFile(f"{self.path / PROFILES} cannot be read: {error}; {_FIX}") from error

    def _table(self, name: str, filters: Any = None) -> pa.Table:
        try:
            return pq.read_table(self.path / name, filters=filters)
        except (OSError, pa.ArrowInvalid) as error:
            raise CorruptFile(f"{self.path / name} cannot be read: {error}; {_FIX}") from error


def _schema_of(about: Path) -> str:
    """What a file calls itself."""
    try:
        return repr(json.loads(about.read_bytes())["schema_version"])
    except (ValueError, KeyError, TypeError):
        return "something else"
