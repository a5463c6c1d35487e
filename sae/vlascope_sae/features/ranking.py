"""The strongest moments of every feature, kept while rows stream by."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Strongest"]

_EMPTY = -1
_LAST = 2**32 - 1


class Strongest:
    """The k largest positive values of every feature, with the coordinates they came from.

    A value and its place in the stream form one integer, so that no two candidates are equal: the
    result is the same however the stream is cut, and of equal values the earliest stays. Memory
    is features x k x (8 + 4 x columns) bytes.

    Args:
        features: how many.
        k: how many moments of each.
        columns: how many integers a coordinate has.
    """

    def __init__(self, features: int, k: int, columns: int) -> None:
        if k < 1:
            raise ValueError(f"at least one moment is kept of a feature; got k={k}")
        self.k, self._seen = k, 0
        self._keys = torch.full((features, k), _EMPTY, dtype=torch.int64)
        self._where = torch.full((features, k, columns), -1, dtype=torch.int32)

    def add(
        self,
        values: Float[Tensor, "m f"],
        row: Int[Tensor, "m f"],
        coordinates: Int[Tensor, "rows c"],
    ) -> None:
        """Take the next candidates.

        Args:
            values: one number per moment and feature; those not above 0 are no candidates.
            row: which of the coordinates is each one's.
            coordinates: of the rows that the candidates come from.
        """
        order = torch.arange(self._seen, self._seen + len(values), dtype=torch.int64)
        self._seen += len(values)
        if self._seen > _LAST:
            raise OverflowError(f"more than {_LAST} moments in one index; use fewer per index")
        better = values.amax(0) > _value_of(self._keys[:, -1])
        features = better.nonzero().squeeze(1)
        if not len(features):
            return
        chosen = values[:, features].T
        keys = (chosen.contiguous().view(torch.int32).long() << 32) | (_LAST - order)
        keys = torch.where(chosen > 0, keys, _EMPTY)
        top, at = keys.topk(min(self.k, keys.shape[1]), dim=1)
        self._merge(features, top, coordinates[row[:, features].T.gather(1, at)])

    def result(self) -> tuple[Float[Tensor, "f k"], Int[Tensor, "f k c"]]:
        """Values in falling order (0 where there was none), and their coordinates (-1 there)."""
        nothing = (self._keys == _EMPTY)[..., None]
        return _value_of(self._keys), self._where.masked_fill(nothing, -1)

    def _merge(self, features: Tensor, keys: Tensor, where: Tensor) -> None:
        """Keep the best of what was there and what is new."""
        keys = torch.cat([self._keys[features], keys], 1)
        where = torch.cat([self._where[features], where.int()], 1)
        top, at = keys.topk(self.k, dim=1)
        self._keys[features] = top
        self._where[features] = where.gather(1, at[..., None].expand(-1, -1, where.shape[-1]))


def _value_of(keys: Tensor) -> Tensor:
    """The float32 in the upper half of a key: positive floats are ordered like their bits."""
    bits = (keys >> 32).clamp_min(0).int()
    return bits.view(torch.float32)
