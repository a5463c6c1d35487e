"""Tensors and activation sources as fields of plain data: JSON in, JSON out."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from safetensors.torch import load, load_file, save
from torch import Tensor

from vlascope.errors import CorruptFile

__all__ = ["TensorField", "TensorsField", "tensor_from_json", "tensor_to_json"]


def tensor_to_json(value: Tensor) -> dict[str, str]:
    """A tensor as `{"safetensors": base64}`: exact, any dtype."""
    raw = save({"value": value.detach().cpu().contiguous()})
    return {"safetensors": base64.b64encode(raw).decode()}


def tensor_from_json(value: Any) -> Tensor:
    """Read a tensor from a tensor, nested lists, `{"safetensors": base64}` or `"file#key"`.

    Raises:
        CorruptFile: the file or text does not hold the tensor it should.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, str):
        path, _, key = value.partition("#")
        try:
            return load_file(path)[key]
        except Exception as error:
            raise CorruptFile(
                f"cannot read tensor {key!r} of {path}: {error}; expected FILE.safetensors#KEY"
            ) from error
    if isinstance(value, Mapping):
        return load(base64.b64decode(value["safetensors"]))["value"]
    return torch.as_tensor(value, dtype=torch.float32)


TensorField = Annotated[
    Tensor,
    PlainValidator(tensor_from_json),
    PlainSerializer(tensor_to_json),
    WithJsonSchema({"description": "nested lists, {'safetensors': base64} or 'file#key'"}),
]
"""A tensor that survives JSON."""


def _tensors(value: Any) -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping from hook point to tensor")
    return {str(key): tensor_from_json(entry) for key, entry in value.items()}


TensorsField = Annotated[
    dict[str, Tensor],
    PlainValidator(_tensors),
    PlainSerializer(lambda value: {k: tensor_to_json(v) for k, v in value.items()}),
    WithJsonSchema({"type": "object"}),
]
"""Tensors by hook point that survive JSON."""
