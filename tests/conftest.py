"""Shared by every test: one thread for torch, and the toy policy."""

from __future__ import annotations

import pytest
import torch

from vlascope.adapter import VLAAdapter

torch.set_num_threads(1)


@pytest.fixture
def toy() -> VLAAdapter:
    """The toy policy with random weights added everywhere."""
    from vlascope_adapters.toy.adapter import ToyAdapter

    return ToyAdapter.tiny()
