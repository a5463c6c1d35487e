"""Directions as fields of an edit: given in numbers, or by the file and name they are kept in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from torch import Tensor

from vlascope.directions import Direction, Subspace, is_directions_file, load_directions
from vlascope.errors import ChecksumMismatch, IncompatibleError
from vlascope.hooks import HookPoint
from vlascope.interventions.fields import tensor_from_json, tensor_to_json

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo

__all__ = [
    "DirectionField",
    "NamedVectors",
    "check_vectors",
    "one_direction",
    "rows_of",
    "unit_rows",
]


@dataclass(frozen=True)
class NamedVectors:
    """A direction or subspace of a file.

    In JSON `{"file": PATH, "name": NAME}`; written out with the `sha256` of what is there, so that
    an episode's digest changes with the content and a changed file is noticed.

    Attributes:
        file, name: where it is kept.
        item: what was found there.
        layers: whether it may be used at other layers than it was found at.
    """

    file: str
    name: str
    item: Direction | Subspace
    layers: bool = False

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> NamedVectors:
        """Open what `{file, name, layers, sha256}` says; the last two may be left out.

        Raises:
            FileMissing, CorruptFile, UnknownName: the file or the name in it.
            ChecksumMismatch: the file holds another content than when the edit was written down.
        """
        unknown = set(value) - {"file", "name", "layers", "sha256"}
        if unknown or not {"file", "name"} <= set(value):
            raise ValueError(
                f"a direction is {{file: PATH, name: NAME}}, and `layers: true` to use it at other "
                f"layers; got {sorted(value)}"
            )
        file, name = str(value["file"]), str(value["name"])
        item = load_directions(file)[name]
        wanted = value.get("sha256")
        if wanted is not None and wanted != item.sha256:
            raise ChecksumMismatch(
                f"{name!r} of {file} is not what it was when this edit was written down; put the "
                "old file back, or leave `sha256` out to use the new one"
            )
        return cls(file, name, item, bool(value.get("layers", False)))

    def dump(self) -> dict[str, Any]:
        """Plain data that `read` takes back."""
        layers = {"layers": True} if self.layers else {}
        return {"file": self.file, "name": self.name, **layers, "sha256": self.item.sha256}


def one_direction(value: Tensor | NamedVectors) -> Tensor | NamedVectors:
    """The value, if it is a single direction.

    Raises:
        ValueError: it has several rows.
    """
    rows = rows_of(value)
    if len(rows) != 1:
        raise ValueError(f"steering needs one direction; this is a subspace of {len(rows)}")
    return value


def unit_rows(value: Tensor | NamedVectors) -> Tensor:
    """The direction at norm 1, or each of several, (k, width); zero stays zero."""
    rows = rows_of(value)
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def rows_of(value: Tensor | NamedVectors) -> Tensor:
    """The vectors, float32 (k, width)."""
    if isinstance(value, NamedVectors):
        return torch.from_numpy(value.item.rows.copy())
    return value.float().reshape(-1, value.shape[-1])


def check_vectors(
    value: Tensor | NamedVectors, info: AdapterInfo, points: Sequence[HookPoint]
) -> None:
    """Refuse hook points that a direction does not belong to.

    Raises:
        IncompatibleError: another width, or for one with a name another site; names both.
    """
    if isinstance(value, NamedVectors):
        value.item.check(info, points, layers=value.layers)
        return
    for point in points:
        declared = info.pathway(point.pathway).width_at(point.site, point.layer)
        if declared is not None and declared != value.shape[-1]:
            raise IncompatibleError(
                f"the direction is {value.shape[-1]} wide, {point} of {info.name} "
                f"({info.checkpoint}) is {declared} wide: it belongs to another site or policy"
            )


def _parse(value: Any) -> Tensor | NamedVectors:
    if isinstance(value, NamedVectors):
        return value
    if isinstance(value, Mapping) and "file" in value:
        return NamedVectors.read(value)
    if isinstance(value, str):
        path, _, name = value.rpartition("#")
        if path and Path(path).is_file() and is_directions_file(path):
            return NamedVectors.read({"file": path, "name": name})
    return tensor_from_json(value)


def _dump(value: Tensor | NamedVectors) -> dict[str, Any]:
    return value.dump() if isinstance(value, NamedVectors) else tensor_to_json(value)


DirectionField = Annotated[
    Tensor | NamedVectors,
    PlainValidator(_parse),
    PlainSerializer(_dump),
    WithJsonSchema({"description": "{file, name}, 'FILE#NAME', or a tensor"}),
]
"""A direction or subspace that survives JSON."""
