"""Messages as bytes: msgpack, with NumPy arrays written as openpi's clients and servers do.

An array is a map of the keys `__ndarray__`, `data`, `dtype` and `shape`, a NumPy scalar one of
`__npgeneric__`, `data` and `dtype`, all of them byte strings. No pickle: arrays of objects are
refused in both directions.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import torch
from torch import Tensor

from vlascope.errors import CorruptFile

__all__ = ["pack", "tensor_from", "tensor_to", "unpack"]

_REFUSED = "VOc"
"""Kinds of dtype that do not travel: void, object, complex."""


def pack(message: Any) -> bytes:
    """A message as bytes.

    Raises:
        ValueError: an array of a dtype that does not travel.
    """
    return msgpack.packb(message, default=_packed)


def unpack(data: bytes) -> Any:
    """A message from bytes; arrays are read-only views of them.

    Raises:
        CorruptFile: the bytes are no such message.
    """
    try:
        return msgpack.unpackb(data, object_hook=_unpacked, strict_map_key=False)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise CorruptFile(f"{len(data)} bytes that are no message of this protocol: {error}") from (
            error
        )


def tensor_to(tensor: Tensor) -> dict[str, Any]:
    """A tensor as plain data, whatever its dtype."""
    own = tensor.detach().cpu().contiguous()
    dtype = str(own.dtype).removeprefix("torch.")
    if own.dtype is torch.bfloat16:
        own = own.view(torch.int16)
    return {"dtype": dtype, "data": own.numpy()}


def tensor_from(data: dict[str, Any]) -> Tensor:
    """The tensor that `tensor_to` wrote, with memory of its own."""
    found = torch.from_numpy(np.array(data["data"]))
    return found.view(torch.bfloat16) if data["dtype"] == "bfloat16" else found


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in _REFUSED:
        raise ValueError(f"arrays of dtype {value.dtype} do not travel")
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a {type(value).__name__} does not travel")


def _unpacked(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        dtype = np.dtype(value[b"dtype"])
        if dtype.kind in _REFUSED:
            raise ValueError(f"arrays of dtype {dtype} do not travel")
        return np.ndarray(shape=value[b"shape"], dtype=dtype, buffer=value[b"data"])
    if b"__npgeneric__" in value:
        return np.dtype(value[b"dtype"]).type(value[b"data"])
    return value
