"""Shared by every test: one thread for torch, patience on slow machines, and the toy policy."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, settings

from vlascope.adapter import VLAAdapter

torch.set_num_threads(1)
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def toy() -> VLAAdapter:
    """The toy policy with random weights added everywhere."""
    from vlascope_adapters.toy.adapter import ToyAdapter

    return ToyAdapter.tiny()
