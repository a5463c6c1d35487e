"""Noise that depends on the episode and nothing else.

Every row of a batch draws from its own generator, seeded by (episode seed, chunk), one draw per
call: a result does not depend on who else was in the batch, nor on the order of episodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["generator_for", "normal"]


def generator_for(seed: int, chunk: int = 0) -> torch.Generator:
    """The CPU generator of one episode's chunk."""
    state = np.random.SeedSequence([seed, chunk]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def normal(
    generators: Sequence[torch.Generator],
    shape: Sequence[int],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Standard normal noise, (len(generators), *shape), row i from `generators[i]` alone.

    Drawn on the CPU in float32 and then moved, so that every device starts from equal numbers.
    """
    rows = [torch.randn(tuple(shape), generator=g) for g in generators]
    return torch.stack(rows).to(device=device, dtype=dtype)
