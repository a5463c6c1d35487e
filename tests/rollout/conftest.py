"""Rollout tests play a third party's benchmark, found through its entry point."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vlascope import plugins

PLUGIN = str(Path(__file__).parent / "plugin")


@pytest.fixture(autouse=True)
def trick_world() -> Iterator[None]:
    torch.set_num_threads(1)
    sys.path.insert(0, PLUGIN)
    plugins.reload()
    yield
    sys.path.remove(PLUGIN)
    plugins.reload()
