"""Bases of subspaces as a field of an edit: in numbers by hook point, or by file and name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from torch import Tensor

from vlascope.errors import MisalignedActivations
from vlascope.hooks import HookPoint
from vlascope.interventions.fields import tensor_from_json, tensor_to_json
from vlascope.interventions.named import NamedVectors

__all__ = ["Bases", "BasisField"]


@dataclass(frozen=True)
class Bases:
    """A basis for each of some hook points.

    Attributes:
        by_point: rows (k, width) by hook point.
        named: where they were read, so that only names and content hashes are written down;
            empty for numbers.
    """

    by_point: Mapping[str, Tensor]
    named: tuple[NamedVectors, ...] = ()

    def get(self, point: HookPoint) -> Tensor:
        """The rows for a hook point.

        Raises:
            MisalignedActivations: there are none; lists what there is.
        """
        if str(point) not in self.by_point:
            raise MisalignedActivations(f"no basis for {point}; given: {list(self.by_point)}")
        return self.by_point[str(point)]


def _parse(value: Any) -> Bases:
    if isinstance(value, Bases):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("a basis is {file: PATH, name: NAME} or a mapping from hook point to rows")
    if "file" in value:
        return _of_file(value)
    return Bases({str(key): _rows(str(key), entry) for key, entry in value.items()})


def _of_file(value: Mapping[str, Any]) -> Bases:
    names = value["names"] if "names" in value else [value.get("name")]
    hashes = value.get("sha256") or [None] * len(names)
    hashes = [hashes] if isinstance(hashes, str) else hashes
    if set(value) - {"file", "name", "names", "sha256"} or None in names:
        raise ValueError(
            "a basis is {file: PATH, name: NAME}, or with `names: [...]` one for each of several "
            f"hook points; got {sorted(value)}"
        )
    found = [
        NamedVectors.read({"file": value["file"], "name": name, **({"sha256": sha} if sha else {})})
        for name, sha in zip(names, hashes, strict=True)
    ]
    by_point = {f.item.at: torch.from_numpy(f.item.rows.copy()) for f in found}
    if len(by_point) < len(found):
        raise ValueError(f"two of {list(names)} were found at one hook point; name one for each")
    return Bases(by_point, tuple(found))


def _rows(point: str, value: Any) -> Tensor:
    rows = tensor_from_json(value).float()
    if rows.ndim != 2:
        raise ValueError(f"the basis for {point} has shape {tuple(rows.shape)}, not (k, width)")
    return rows


def _dump(bases: Bases) -> dict[str, Any]:
    if not bases.named:
        return {point: tensor_to_json(rows) for point, rows in bases.by_point.items()}
    return {
        "file": bases.named[0].file,
        "names": [n.name for n in bases.named],
        "sha256": [n.item.sha256 for n in bases.named],
    }


BasisField = Annotated[
    Bases,
    PlainValidator(_parse),
    PlainSerializer(_dump),
    WithJsonSchema({"type": "object"}),
]
"""Bases that survive JSON; those of a file by name and content hash."""
