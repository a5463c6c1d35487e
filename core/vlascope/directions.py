"""Directions and subspaces of activation space: found by one engine, used by any intervention.

A file holds any number of them, each tied to the hook point it was found at, together with where
they come from (safetensors with JSON metadata, schema `vlascope.directions/1`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vlascope.errors import (
    CorruptFile,
    FileMissing,
    IncompatibleError,
    UnusableActivations,
    unknown_name,
)
from vlascope.hooks import HookPoint

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo

__all__ = [
    "SCHEMA",
    "Direction",
    "Directions",
    "Subspace",
    "is_directions_file",
    "load_directions",
    "save_directions",
]

SCHEMA: Final = "vlascope.directions/1"

FloatArray = npt.NDArray[np.float32]

_ORTHONORMAL = 1e-3
"""How far U U^T may be from the identity, entry by entry."""


@dataclass(frozen=True, eq=False)
class Direction:
    """One direction at one hook point.

    Attributes:
        name: unique in its file.
        at: the hook point it was found at, as text.
        vector: float32 (width,), any norm above 0; edits scale it to unit norm.
        scale: standard deviation of the activations' projection onto the unit vector, so that a
            strength can be said in deviations; None where it was not measured.
        about: what it stands for, in words.
        found_by: how it was found, fit for JSON.
    """

    name: str
    at: str
    vector: FloatArray
    scale: float | None = None
    about: str = ""
    found_by: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        HookPoint.parse(self.at)
        _set(self, "vector", _usable(self.vector, 1, f"direction {self.name!r}"))
        if not float(np.linalg.norm(self.vector)) > 0:
            raise UnusableActivations(f"direction {self.name!r} is all zeros; it points nowhere")
        if self.scale is not None and not math.isfinite(self.scale):
            raise UnusableActivations(f"direction {self.name!r} has scale {self.scale}")

    @property
    def width(self) -> int:
        """How many numbers an activation has there."""
        return int(self.vector.shape[0])

    @property
    def unit(self) -> FloatArray:
        """The vector at norm 1."""
        return (self.vector / np.linalg.norm(self.vector)).astype(np.float32)

    @property
    def rows(self) -> FloatArray:
        """The unit vector as the one row of a subspace, (1, width)."""
        return self.unit[None]

    def check(
        self, info: AdapterInfo, points: Sequence[HookPoint], *, layers: bool = False
    ) -> None:
        """Refuse hook points this direction was not found at; see `Subspace.check`."""
        _check(f"direction {self.name!r}", self.at, self.width, info, points, layers)

    @property
    def sha256(self) -> str:
        """A hash of what it does: where it was found and its vector."""
        return _hash(self.at, self.vector)


@dataclass(frozen=True, eq=False)
class Subspace:
    """Several directions at one hook point that are used together.

    Attributes:
        name, at, about, found_by: as in `Direction`.
        basis: float32 (k, width), orthonormal rows, 1 <= k < width.
        variance_captured: share of the variance it was found in, 0..1; None where that means
            nothing.
    """

    name: str
    at: str
    basis: FloatArray
    about: str = ""
    found_by: Mapping[str, Any] = field(default_factory=dict)
    variance_captured: float | None = None

    def __post_init__(self) -> None:
        HookPoint.parse(self.at)
        _set(self, "basis", _usable(self.basis, 2, f"subspace {self.name!r}"))
        k, width = self.basis.shape
        if not 1 <= k < width:
            raise UnusableActivations(
                f"subspace {self.name!r} has {k} of {width} dimensions; it needs at least 1 and "
                "fewer than all (all of them is the whole activation)"
            )
        off = np.abs(self.basis.astype(np.float64) @ self.basis.T.astype(np.float64) - np.eye(k))
        if off.max() > _ORTHONORMAL:
            raise UnusableActivations(
                f"the rows of subspace {self.name!r} are not orthonormal (off by "
                f"{off.max():.2g}); build it with Subspace.spanned_by, which makes them so"
            )

    @classmethod
    def spanned_by(cls, name: str, at: str, rows: npt.ArrayLike, **rest: Any) -> Subspace:
        """The span of any rows, (n, width); linearly dependent ones are dropped."""
        given = _usable(rows, 2, f"subspace {name!r}").astype(np.float64)
        _, singular, basis = np.linalg.svd(given, full_matrices=False)
        if not (kept := int((singular > 1e-6 * singular[0]).sum()) if singular[0] > 0 else 0):
            raise UnusableActivations(f"subspace {name!r} is spanned by zeros; it is empty")
        return cls(name, at, basis[:kept].astype(np.float32), **rest)

    @property
    def width(self) -> int:
        """How many numbers an activation has there."""
        return int(self.basis.shape[1])

    @property
    def rows(self) -> FloatArray:
        """The basis, (k, width)."""
        return self.basis

    def check(
        self, info: AdapterInfo, points: Sequence[HookPoint], *, layers: bool = False
    ) -> None:
        """Refuse hook points this was not found at.

        Args:
            info: the policy.
            points: where it is to be used.
            layers: allow other layers of the same pathway and site.

        Raises:
            IncompatibleError: a point of another site or width, naming it.
        """
        _check(f"subspace {self.name!r}", self.at, self.width, info, points, layers)

    @property
    def sha256(self) -> str:
        """A hash of what it does: where it was found and its basis."""
        return _hash(self.at, self.basis)


class Directions(Mapping[str, "Direction | Subspace"]):
    """What a file of directions holds, by name.

    Attributes:
        path: the file.
        provenance: where all of it comes from (policy, recording, command), as it was saved.
    """

    def __init__(
        self, path: Path, items: Iterable[Direction | Subspace], provenance: Mapping[str, Any]
    ) -> None:
        self.path, self.provenance = path, dict(provenance)
        self._items = {item.name: item for item in items}

    def __getitem__(self, name: str) -> Direction | Subspace:
        if name not in self._items:
            raise unknown_name(f"direction or subspace of {self.path}", name, self._items)
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def direction(self, name: str) -> Direction:
        """The direction of that name.

        Raises:
            UnknownName: there is none (or it is a subspace); near matches are listed.
        """
        found = self._items.get(name)
        if not isinstance(found, Direction):
            names = [n for n, i in self._items.items() if isinstance(i, Direction)]
            raise unknown_name(f"direction of {self.path}", name, names)
        return found

    def subspace(self, name: str) -> Subspace:
        """The subspace of that name.

        Raises:
            UnknownName: there is none (or it is a single direction); near matches are listed.
        """
        found = self._items.get(name)
        if not isinstance(found, Subspace):
            names = [n for n, i in self._items.items() if isinstance(i, Subspace)]
            raise unknown_name(f"subspace of {self.path}", name, names)
        return found


def save_directions(
    path: str | Path,
    items: Iterable[Direction | Subspace],
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write directions and subspaces to one file, whole or not at all.

    Args:
        path: the file; what is there is replaced.
        items: each under a name of its own.
        provenance: where they come from, fit for JSON.

    Raises:
        ValueError: two items share a name, or there is none.
    """
    from vlascope.store.durable import write_atomically

    listed = list(items)
    names = [item.name for item in listed]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(f"{len(listed)} directions, but {twice} occur more than once")
    if not listed:
        raise ValueError("there is no direction to save")
    tensors = {str(i): np.ascontiguousarray(_tensor(item)) for i, item in enumerate(listed)}
    metadata = {
        "schema": SCHEMA,
        "items": json.dumps([_entry(item) for item in listed]),
        "provenance": json.dumps(dict(provenance or {}), sort_keys=True),
    }
    write_atomically(Path(path), save(tensors, metadata))
    return Path(path)


def load_directions(path: str | Path) -> Directions:
    """Read a file that `save_directions` wrote.

    Raises:
        FileMissing: there is no such file.
        CorruptFile: it is truncated, foreign or of another schema version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileMissing(f"there is no file of directions at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("schema") != SCHEMA:
                raise CorruptFile(
                    f"{path} holds {metadata.get('schema', 'no schema')!r}, expected {SCHEMA!r}; "
                    "directions are written by save_directions"
                )
            entries = json.loads(metadata["items"])
            items = [_item(entry, file.get_tensor(str(i))) for i, entry in enumerate(entries)]
            return Directions(path, items, json.loads(metadata["provenance"]))
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise CorruptFile(
            f"{path} is no readable file of directions ({error}); expected the safetensors file "
            "that save_directions wrote: copy it again or find the directions anew"
        ) from error


def is_directions_file(path: str | Path) -> bool:
    """Whether a file says of itself that `save_directions` wrote it."""
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("schema") == SCHEMA
    except (SafetensorError, OSError):
        return False


def _entry(item: Direction | Subspace) -> dict[str, Any]:
    shared = {
        "name": item.name,
        "at": item.at,
        "about": item.about,
        "found_by": dict(item.found_by),
    }
    if isinstance(item, Direction):
        return {"is": "direction", **shared, "scale": item.scale}
    return {"is": "subspace", **shared, "variance_captured": item.variance_captured}


def _item(entry: Mapping[str, Any], tensor: FloatArray) -> Direction | Subspace:
    fields = {key: value for key, value in entry.items() if key != "is"}
    if entry["is"] == "direction":
        return Direction(vector=tensor, **fields)
    return Subspace(basis=tensor, **fields)


def _tensor(item: Direction | Subspace) -> FloatArray:
    return item.vector if isinstance(item, Direction) else item.basis


def _usable(values: npt.ArrayLike, dimensions: int, what: str) -> FloatArray:
    array = np.ascontiguousarray(values, dtype=np.float32)
    if array.ndim != dimensions or 0 in array.shape:
        shape = "(width,)" if dimensions == 1 else "(k, width)"
        raise UnusableActivations(f"{what} has shape {array.shape}; expected {shape}, not empty")
    if not np.isfinite(array).all():
        raise UnusableActivations(f"{what} holds NaN or infinity")
    return array


def _set(item: object, name: str, value: FloatArray) -> None:
    value.setflags(write=False)
    object.__setattr__(item, name, value)


def _hash(at: str, values: FloatArray) -> str:
    return hashlib.sha256(at.encode() + b"\n" + values.tobytes()).hexdigest()


def _check(
    what: str, at: str, width: int, info: AdapterInfo, points: Sequence[HookPoint], layers: bool
) -> None:
    found = HookPoint.parse(at)
    for point in points:
        same_site = (point.pathway, point.site) == (found.pathway, found.site)
        if not same_site or (point.layer != found.layer and not layers):
            hint = "; say `layers: true` to use it at other layers" if same_site else ""
            raise IncompatibleError(
                f"{what} was found at {at}, not at {point}: there its numbers mean something "
                f"else; set at: [{at}]{hint}"
            )
        declared = info.pathway(point.pathway).width_at(point.site, point.layer)
        if declared is not None and declared != width:
            raise IncompatibleError(
                f"{what} is {width} wide, {point} of {info.name} ({info.checkpoint}) is "
                f"{declared} wide: it was found in another policy"
            )
