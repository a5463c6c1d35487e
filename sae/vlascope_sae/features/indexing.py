"""Making a feature index: one pass over a store, in memory that does not grow with it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from vlascope.errors import AlreadyThere, FileMissing
from vlascope.hooks import HookPoint
from vlascope.store import COLUMNS, ActivationStore, Where
from vlascope.store.durable import write_atomically
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.features.blocks import Pool, UnitRows, pooled, read_units
from vlascope_sae.features.hysteresis import ON_ABOVE, EpisodeTally
from vlascope_sae.features.profiles import Histogram, Profile
from vlascope_sae.features.ranking import Strongest
from vlascope_sae.features.reading import Firings, Timeline, encoded, gathered
from vlascope_sae.features.schema import ABOUT, PHASES, IndexManifest, fingerprint, trace_file
from vlascope_sae.features.tables import write_tables
from vlascope_sae.features.traces import Trace, pack

__all__ = ["Gathering", "build_index"]

_EVERYTHING = Where()
_BLOCK_NUMBERS = 2**23
"""Encoded numbers in memory at once: 32 MiB."""


def build_index(
    sae: SparseAutoencoder,
    store: ActivationStore,
    point: HookPoint | str,
    out: str | Path,
    *,
    where: Where = _EVERYTHING,
    pool: Pool = "none",
    top_k: int = 16,
    threshold: float = ON_ABOVE,
    block_rows: int | None = None,
    sae_path: str = "",
) -> Path:
    """Read a hook point's rows once and write what every feature did.

    Memory holds one block of rows, the sums of every feature, and one unit's trace (instants x
    features): it does not grow with the store. The folder appears whole, or not at all.

    Args:
        sae: the autoencoder, on the device it is to encode on.
        store: recorded activations.
        point: where the autoencoder reads.
        out: the folder to write; it must not exist.
        where: which rows.
        pool: `none` for a feature per token; else put the tokens of each moment together first.
        top_k: moments kept per feature; a moment counts once, with its strongest token.
        threshold: above which a feature switches on.
        block_rows: rows encoded at once; by default 32 MiB of encoded numbers.
        sae_path: where the autoencoder lies, for the record.

    Raises:
        AlreadyThere: `out` exists.
        UnknownName: the store does not hold that point.
        MisalignedActivations: the store's activations have another width, or are not finite.
        FileMissing: no row of the store is wanted.
        DiskFull: no space left; nothing is left behind.
    """
    gathering = Gathering(sae, top_k=top_k, threshold=threshold, pool=pool)
    rows = block_rows or max(64, _BLOCK_NUMBERS // max(sae.config.d_sae, sae.config.d_in))
    with _appearing(Path(out)) as folder:
        for unit in read_units(store, str(point), where):
            for number, trace in gathering.add(unit, rows):
                write_atomically(folder / trace_file(number), save(pack(trace)))
        if not gathering.rows:
            raise FileMissing(f"{store.path} holds no row of {point} with {where}")
        about = gathering.manifest(
            sae=sae.config.model_dump(mode="json"),
            sae_hash=fingerprint(sae),
            sae_path=sae_path,
            point=str(point),
            store=os.fspath(store.path.resolve()),
            provenance=store.provenance,
            where=json.loads(json.dumps(asdict(where), default=list)),
        )
        write_tables(folder, gathering)
        write_atomically(folder / ABOUT, about.model_dump_json(indent=1).encode())
    return Path(out)


class Gathering:
    """What was seen so far: sums and rankings of every feature, names of episodes and tasks."""

    def __init__(self, sae: SparseAutoencoder, *, top_k: int, threshold: float, pool: Pool) -> None:
        self._sae, features = sae, sae.config.d_sae
        self._pool: Pool = pool
        self._device = sae.W_dec.device
        self.top = Strongest(features, top_k, len(COLUMNS))
        self.tally = EpisodeTally(features, threshold)
        self.phases = Profile(features, len(PHASES))
        self.histogram = Histogram(features)
        self.tasks: dict[str, Profile] = {}
        self.episodes: list[tuple[str, int, dict[str, Any]]] = []
        self.spans: dict[str, int] = {}
        self.rows = self.moments = self.instants = 0

    @property
    def features(self) -> int:
        """How many there are."""
        return self._sae.config.d_sae

    def add(self, unit: UnitRows, block_rows: int) -> Iterator[tuple[int, Trace]]:
        """Read one unit; give back the trace of each of its episodes, with its number."""
        timeline = Timeline(unit)
        trace = torch.zeros(len(timeline.instants), self.features)
        names, first = list(unit.manifest.episodes), len(self.episodes)
        numbers = self._episode_numbers(unit, timeline)
        for block in unit.blocks(block_rows):
            small = pooled(block, self._pool)
            z = encoded(self._sae, small, self._device)
            fired = Firings.of(z)
            found = gathered(z, fired, small)
            instant = timeline.of_moment[block.first : block.first + len(found.rows)]
            places = instant[:, None].expand_as(found.largest)
            trace.scatter_reduce_(0, places, found.largest, "amax")
            sums = (found.rows, found.fired, found.total, found.largest)
            self.phases.add(timeline.phase[instant], *sums)
            self._add_tasks(names, unit, small.columns[small.starts, 0], sums)
            self.histogram.add(fired.features, fired.values)
            self.top.add(found.largest, found.where, self._renamed(small.columns, numbers, unit))
            self.rows += len(z)
            self.moments += len(found.rows)
        for number in range(first, len(self.episodes)):
            own = timeline.instants[:, 0] == names.index(self.episodes[number][0])
            whole = Trace(timeline.instants[own, 1:], trace[torch.from_numpy(own)])
            self.tally.add(whole.values)
            self.instants += len(whole.when)
            yield number, whole

    def manifest(self, **known: Any) -> IndexManifest:
        """What the index says of itself."""
        rate = (self.phases.fired.sum(0).double() / max(self.rows, 1)).numpy()
        edges = np.linspace(-8.0, 0.0, 33)
        alive = np.log10(rate[rate > 0]).clip(edges[0], edges[-1])
        return IndexManifest(
            pool=self._pool,
            features=self.features,
            rows=self.rows,
            moments=self.moments,
            instants=self.instants,
            episodes=len(self.episodes),
            top_k=self.top.k,
            threshold=self.tally.threshold,
            tasks=tuple(self.tasks),
            dead=int((rate == 0).sum()),
            density={
                "edges": edges.tolist(),
                "counts": np.histogram(alive, edges)[0].astype(float).tolist(),
            },
            **known,
        )

    def _episode_numbers(self, unit: UnitRows, timeline: Timeline) -> Tensor:
        """This index's number of each of the unit's episodes; -1 where none of its rows count."""
        numbers = torch.full((len(unit.manifest.episodes),), -1)
        counts = np.bincount(timeline.instants[:, 0], minlength=len(numbers))
        for i, (name, labels) in enumerate(unit.manifest.episodes.items()):
            if counts[i]:
                numbers[i] = len(self.episodes)
                self.episodes.append((name, int(counts[i]), labels))
        return numbers

    def _add_tasks(
        self,
        names: list[str],
        unit: UnitRows,
        episode: np.ndarray[Any, np.dtype[np.int32]],
        sums: tuple[Tensor, Tensor, Tensor, Tensor],
    ) -> None:
        for i in np.unique(episode).tolist():
            task = str(unit.manifest.episodes[names[i]].get("task") or "")
            profile = self.tasks.setdefault(task, Profile(self.features, 1))
            inside = torch.from_numpy(episode == i)
            profile.add(
                torch.zeros(int(inside.sum()), dtype=torch.long), *(s[inside] for s in sums)
            )

    def _renamed(
        self, columns: np.ndarray[Any, np.dtype[np.int32]], numbers: Tensor, unit: UnitRows
    ) -> Float[Tensor, "rows c"]:
        """Coordinates with this index's numbers for episodes and spans in place of the unit's."""
        spans = [self.spans.setdefault(s, len(self.spans)) for s in unit.manifest.spans]
        renamed = torch.from_numpy(np.array(columns, np.int32))
        episode, span = COLUMNS.index("episode"), COLUMNS.index("span")
        renamed[:, episode] = numbers[renamed[:, episode].long()].int()
        renamed[:, span] = torch.tensor([*spans, -1], dtype=torch.int32)[renamed[:, span].long()]
        return renamed


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when all went well, and is gone when not."""
    if out.exists():
        raise AlreadyThere(f"{out} is there already; write the index elsewhere, or delete it first")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    _sweep(out)
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Remove what passes that were killed left behind; those still at work keep theirs."""
    for left in out.parent.glob(f".{escape(out.name)}.*.partial"):
        pid = left.name.split(".")[-2]
        if not (pid.isdigit() and _runs(int(pid))):
            shutil.rmtree(left, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
