"""The rows of a hook point in memory, episode by episode, by token and pooled."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from vlascope.store import ActivationStore, Where
from vlascope.store.rows import Rows
from vlascope_sae.recipes.options import Per

__all__ = ["EpisodeRows", "read_rows", "real_spans"]

_PADDING = "padding"
_WHEN = slice(1, 4)
"""The columns step, chunk and call."""


@dataclass(frozen=True, eq=False)
class EpisodeRows:
    """One episode's activations, float32.

    Attributes:
        tokens: (rows, d), maybe a random share of them.
        pooled: (firings, d), the mean over all tokens of each firing.
    """

    episode: str
    tokens: Float[Tensor, "rows d"]
    pooled: Float[Tensor, "firings d"]

    def of(self, per: Per) -> Tensor:
        """Rows of one kind."""
        return self.tokens if per == "token" else self.pooled


def real_spans(store: ActivationStore, point: str) -> tuple[str, ...] | None:
    """The spans recorded at a point but for padding; None where there is no padding."""
    held = {s: None for unit in store.units if point in unit.points for s in unit.spans}
    kept = tuple(s for s in held if not s.startswith(_PADDING))
    return None if len(kept) == len(held) else kept


def read_rows(
    store: ActivationStore, point: str, where: Where, *, most: int, seed: int
) -> list[EpisodeRows]:
    """Every wanted episode; where there are more than `most` rows, the same share of each.

    The share is drawn by episode name, so that it depends on nothing else.
    """
    units = [u for u in store.units if point in u.points and where.concerns(u)]
    share = min(1.0, most / max(1, sum(u.points[point].rows for u in units)))
    found = []
    for rows in store.by_unit(point, where):
        for number, name in enumerate(rows.episodes):
            own = np.flatnonzero(rows.column("episode") == number)
            if len(own):
                found.append(_episode(name, rows.take(own), share, seed))
    return found


def _episode(name: str, rows: Rows, share: float, seed: int) -> EpisodeRows:
    values = rows.values.float()
    lengths = torch.from_numpy(_lengths(rows))
    pooled = torch.segment_reduce(values, "mean", lengths=lengths, axis=0)
    if share < 1:
        draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
        kept = draw.permutation(len(values))[: max(1, round(share * len(values)))]
        values = values[torch.from_numpy(np.sort(kept))]
    return EpisodeRows(name, values, pooled)


def _lengths(rows: Rows) -> npt.NDArray[np.int64]:
    """How many tokens each firing has."""
    when = rows.columns[:, _WHEN]
    edges = np.flatnonzero((when[1:] != when[:-1]).any(1)) + 1
    return np.diff(np.asarray([0, *edges.tolist(), len(when)], np.int64))
