"""Reconstruction by size of the activation: are the largest rows described as well as the rest?"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlascope_sae.evaluation.schema import Decile

__all__ = ["NormDeciles"]

_PER_OCTAVE: Final = 32
"""Bins per doubling of the norm: each is 2.2% wide."""
_SMALLEST: Final = 2.0**-60


class NormDeciles:
    """Sums by bin of norm, from which tenths of the rows are put together at the end.

    One pass suffices, and memory grows with the number of occupied bins, not with rows.
    """

    def __init__(self) -> None:
        self._bins: dict[int, _Bin] = {}

    def add(
        self,
        x: Float[Tensor, "rows d"],
        x_hat: Float[Tensor, "rows d"],
        fired: Int[Tensor, " rows"],
    ) -> None:
        """Take in rows, their reconstructions, and how many features fired in each."""
        rows = x.detach().double()
        squares = rows.square().sum(1)
        errors = (rows - x_hat.detach().double()).square().sum(1)
        octaves = squares.sqrt().clamp_min(_SMALLEST).log2()
        bins = (octaves * _PER_OCTAVE).floor().long().cpu().numpy()
        keys, inverse = np.unique(bins, return_inverse=True)
        of_row = torch.from_numpy(inverse.reshape(-1)).to(rows.device)
        count = torch.bincount(of_row, minlength=len(keys))
        sums = [_by_bin(v, of_row, len(keys)) for v in (squares, errors, fired.double())]
        vectors = rows.new_zeros(len(keys), rows.shape[1]).index_add_(0, of_row, rows)
        numbers = torch.stack([count.double(), *sums], 1).cpu()
        for key, found, vector in zip(keys.tolist(), numbers, vectors.cpu(), strict=True):
            known = self._bins.setdefault(key, _Bin(torch.zeros(4).double(), 0 * vector))
            known.numbers += found
            known.vector += vector

    def result(self, mean: Float[Tensor, " d"]) -> tuple[Decile, ...]:
        """The tenths that hold any rows, smallest norms first; `mean` is the mean of all rows."""
        total = sum(float(b.numbers[0]) for b in self._bins.values())
        groups: dict[int, list[int]] = {}
        before = 0.0
        for key in sorted(self._bins):
            count = float(self._bins[key].numbers[0])
            groups.setdefault(int(10 * (before + count / 2) / total), []).append(key)
            before += count
        return tuple(self._decile(keys, mean.double().cpu()) for keys in groups.values())

    def _decile(self, keys: list[int], mean: Tensor) -> Decile:
        rows, squares, errors, fired = sum(
            (self._bins[k].numbers for k in keys), torch.zeros(4).double()
        ).tolist()
        vector = sum((self._bins[k].vector for k in keys), torch.zeros_like(mean))
        spread = squares - 2 * float(mean @ vector) + rows * float(mean @ mean)
        return Decile(
            norm_low=2.0 ** (keys[0] / _PER_OCTAVE),
            norm_high=2.0 ** ((keys[-1] + 1) / _PER_OCTAVE),
            rows=int(rows),
            fvu=errors / max(spread, 1e-300),
            relative_error=(errors / max(squares, 1e-300)) ** 0.5,
            l0=fired / rows,
        )


class _Bin:
    """Rows of about one norm: (rows, sum |x|^2, sum |error|^2, firings), and the sum of x."""

    def __init__(self, numbers: Tensor, vector: Tensor) -> None:
        self.numbers = numbers
        self.vector = vector


def _by_bin(values: Tensor, of_row: Tensor, bins: int) -> Tensor:
    return values.new_zeros(bins).index_add_(0, of_row, values)
