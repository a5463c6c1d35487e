"""One pass over rows: what each block adds to the sums, the rankings and the traces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlascope.errors import MisalignedActivations
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.features.blocks import Block, UnitRows
from vlascope_sae.features.schema import PHASES

__all__ = ["Firings", "Moments", "Timeline", "encoded", "gathered"]


class Moments(NamedTuple):
    """What the features did at each moment of a block.

    Attributes:
        rows: int64 (moments,), rows of each.
        fired: int64 (moments, features), rows in which it fired.
        total: float64 (moments, features).
        largest: float32 (moments, features).
        where: int64 (moments, features), the first row of the block with the largest value.
    """

    rows: Int[Tensor, " m"]
    fired: Int[Tensor, "m f"]
    total: Float[Tensor, "m f"]
    largest: Float[Tensor, "m f"]
    where: Int[Tensor, "m f"]


class Firings(NamedTuple):
    """What is not 0 in a block: `values[i]` of `features[i]` in row `rows[i]`, in that order."""

    rows: Int[Tensor, " n"]
    features: Int[Tensor, " n"]
    values: Float[Tensor, " n"]

    @classmethod
    def of(cls, z: Float[Tensor, "rows f"]) -> Firings:
        """Found once for all who count."""
        rows, features = z.nonzero(as_tuple=True)
        return cls(rows, features, z[rows, features])


class Timeline:
    """The instants (episode, step, chunk) of a unit, in order, and where each moment belongs.

    Attributes:
        instants: int32 (instants, 3).
        of_moment: int64 (moments,), the instant of each moment.
        phase: int64 (instants,), which third of its episode's instants it is in.
    """

    def __init__(self, unit: UnitRows) -> None:
        self.instants, of_moment = np.unique(unit.moments[:, :3], axis=0, return_inverse=True)
        self.of_moment = torch.from_numpy(of_moment.reshape(-1).astype(np.int64))
        _, first, count = np.unique(self.instants[:, 0], return_index=True, return_counts=True)
        place = np.arange(len(self.instants)) - np.repeat(first, count)
        self.phase = torch.from_numpy(place * len(PHASES) // np.repeat(count, count))


@torch.no_grad()
def encoded(sae: SparseAutoencoder, block: Block, device: torch.device) -> Float[Tensor, "rows f"]:
    """The features of a block's rows, float32 on the CPU; a signed latent fires above 0 only.

    Raises:
        MisalignedActivations: rows of another width, or numbers that are not finite.
    """
    if block.values.shape[1] != sae.config.d_in:
        raise MisalignedActivations(
            f"the autoencoder reads activations of width {sae.config.d_in}, but the store's have "
            f"{block.values.shape[1]}; name the hook point it was trained at"
        )
    if not torch.isfinite(block.values).all():
        raise MisalignedActivations(
            f"{int((~torch.isfinite(block.values)).sum())} stored numbers are not finite; features "
            "of them mean nothing: leave those rows out (where) or record them again"
        )
    x = block.values.to(device, sae.W_enc.dtype)
    return sae.encode(x).float().clamp_min(0).cpu()


def gathered(z: Float[Tensor, "rows f"], fired: Firings, block: Block) -> Moments:
    """Sums and maxima over the rows of each moment; all at once where they are equally many."""
    lengths = torch.from_numpy(block.lengths)
    shape = (len(lengths), z.shape[1])
    if len(set(lengths.tolist())) == 1:
        largest, within = z.reshape(shape[0], int(lengths[0]), shape[1]).max(1)
    else:
        parts = [part.max(0) for part in torch.split(z, lengths.tolist())]
        largest, within = (torch.stack(found) for found in zip(*parts, strict=True))
    moment = torch.arange(shape[0]).repeat_interleave(lengths)
    flat, cells = moment[fired.rows] * shape[1] + fired.features, shape[0] * shape[1]
    count = torch.bincount(flat, minlength=cells).reshape(shape)
    total = torch.bincount(flat, fired.values.double(), minlength=cells).reshape(shape)
    where = within + torch.from_numpy(block.starts)[:, None]
    return Moments(lengths, count, total, largest, where)
