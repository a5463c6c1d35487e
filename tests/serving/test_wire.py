"""Messages survive the wire, and what must not travel does not."""

import numpy as np
import pytest
import torch

from vlascope.errors import CorruptFile
from vlascope.serving.wire import pack, tensor_from, tensor_to, unpack

ARRAYS = [
    np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
    np.array([np.nan, np.inf, -0.0], np.float32),
    np.zeros((0, 4), np.float64),
    np.array(1.5),
    np.array(["go", "open"]),
    np.array([True, False]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays_keep_shape_dtype_and_values(array):
    found = unpack(pack({"deep": [array]}))["deep"][0]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("scalar", [np.float32(0.1), np.int64(3), np.bool_(True)])
def test_scalars_keep_their_type(scalar):
    found = unpack(pack(scalar))
    assert type(found) is type(scalar)
    assert found == scalar


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_tensors_keep_every_bit(dtype):
    tensor = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).mul(9).to(dtype)
    found = tensor_from(unpack(pack(tensor_to(tensor))))
    assert found.dtype is dtype
    assert torch.equal(found, tensor)
    found += 1  # memory of its own


def test_objects_do_not_travel():
    with pytest.raises(ValueError, match="do not travel"):
        pack(np.array([object()]))
    with pytest.raises(TypeError, match="does not travel"):
        pack(object())
    smuggled = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "|O", b"shape": (1,)}
    with pytest.raises(CorruptFile, match="do not travel"):
        unpack(pack(smuggled))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01", pack({"a": 1})[:-1]])
def test_torn_messages_are_refused(data):
    with pytest.raises(CorruptFile, match="no message"):
        unpack(data)
