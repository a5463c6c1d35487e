"""What every architecture of the zoo can be built from and trained on for a step."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("vlascope_zoo")

from vlascope_zoo.architecture import Batch, Statistics

LOW, HIGH = torch.tensor([-0.5, 0.4, 0.0, 0.0]), torch.tensor([0.5, 1.0, 0.5, 1.0])


def moments(low, high):
    return {
        "mean": (low + high) / 2, "std": (high - low) / 4,
        "min": low, "max": high, "q01": low, "q99": high,
    }  # fmt: skip


@pytest.fixture(scope="module")
def statistics():
    pixels = torch.randint(0, 256, (20, 96, 96, 3), generator=torch.Generator().manual_seed(0))
    return Statistics(
        state=moments(LOW, HIGH),
        action=moments(-torch.ones(4), torch.ones(4)),
        picture={name: torch.full((3, 1, 1), 0.5) for name in ("mean", "std")},
        pixels=pixels.to(torch.uint8),
    )


@pytest.fixture(scope="module")
def batch(statistics):
    g = torch.Generator().manual_seed(1)
    return Batch(
        pictures=statistics.pixels[:3],
        instructions=("open the drawer", "", "press the button from above"),
        state=LOW + (HIGH - LOW) * torch.rand(3, 4, generator=g),
        actions=2 * torch.rand(3, 8, 4, generator=g) - 1,
        valid=torch.arange(8) < torch.tensor([[8], [5], [2]]),
    )
