"""Training rows from a tensor, or from anything that yields tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from vlascope_sae.training.dataset import held_out
from vlascope_sae.training.source import Source, Taken

__all__ = ["IteratorSource", "TensorSource"]


class TensorSource(Source):
    """Rows of a tensor, in another random order every epoch.

    Args:
        x: the rows, or (rows, 2, d) pairs of adjacent times; left as they are.
        target: what each of them is to predict; None for itself.
        episodes: the episode of each row, so that whole episodes are held out; without, rows
            count as episodes of their own.
        validation: share of the episodes held out.
        outliers: see `DatasetSpec`.
        name: for messages.
        seed: decides the order and the split.
    """

    def __init__(
        self,
        x: Float[Tensor, "rows *pair d"],
        target: Float[Tensor, "rows o"] | None = None,
        *,
        episodes: Sequence[str] | None = None,
        validation: float = 0.1,
        outliers: float | None = 10.0,
        name: str = "tensor",
        seed: int = 0,
    ) -> None:
        if x.ndim not in (2, 3) or not len(x):
            raise ValueError(
                f"expected rows (n, d) or pairs (n, 2, d), at least one; got {tuple(x.shape)}"
            )
        if target is not None and len(target) != len(x):
            raise ValueError(f"{len(target)} targets for {len(x)} rows")
        self.name, self.width, self.outliers = name, x.shape[-1], outliers
        self.pairs = x.ndim == 3
        self.target_width = None if target is None else target.shape[1]
        self._all, self._seed = Taken(x, target), seed
        held = self._held(episodes, validation)
        self._training = torch.from_numpy(np.flatnonzero(~held))
        self._held_out = torch.from_numpy(np.flatnonzero(held))

    @property
    def training_rows(self) -> int:
        """Rows in one epoch."""
        return len(self._training)

    @property
    def held_out_rows(self) -> int:
        """How many rows `validation` gives."""
        return len(self._held_out)

    def stream(self, rows: int, *, drawn: int = 0) -> Iterator[Taken]:
        """Training rows in batches of `rows`, for ever, from the `drawn`-th row on."""
        epoch, skip = divmod(drawn, len(self._training))
        left = self._order(epoch)[skip:]
        while True:
            while len(left) < rows:
                epoch += 1
                left = torch.cat([left, self._order(epoch)])
            yield self._all.rows(left[:rows].to(self._all.x.device))
            left = left[rows:]

    def validation(self, rows: int, *, limit: int | None = None) -> Iterator[Taken]:
        """The held-out rows once, in order; with a limit, rows spread evenly over them."""
        chosen = self._held_out
        if limit is not None and limit < len(chosen):
            chosen = chosen[torch.linspace(0, len(chosen) - 1, limit).long()]
        for part in torch.split(chosen, rows):
            taken = self._all.rows(part.to(self._all.x.device))
            yield Taken(taken.x[:, 0], taken.target) if self.pairs else taken

    def _order(self, epoch: int) -> Tensor:
        generator = np.random.default_rng([self._seed, epoch])
        return self._training[torch.from_numpy(generator.permutation(len(self._training)))]

    def _held(self, episodes: Sequence[str] | None, share: float) -> npt.NDArray[np.bool_]:
        rows = len(self._all)
        if episodes is None:
            held = np.zeros(rows, bool)
            shuffled = np.random.default_rng(self._seed).permutation(rows)
            held[shuffled[: round(share * rows)]] = True
            return held
        if len(episodes) != rows:
            raise ValueError(f"{len(episodes)} episode names for {rows} rows")
        return np.isin(np.asarray(episodes), list(held_out(episodes, share, self._seed)))


class IteratorSource(Source):
    """Rows from anything that can be iterated anew, in the order it gives them.

    Args:
        make: begins the rows from the start again; yields tensors (rows, d) of any length. When
            they end it is called for the next epoch.
        held_out: rows to validate on; None for none.
        outliers: see `DatasetSpec`.
        name: for messages.
    """

    def __init__(
        self,
        make: Callable[[], Iterable[Float[Tensor, "rows d"]]],
        held_out: Float[Tensor, "rows d"] | None = None,
        *,
        outliers: float | None = 10.0,
        name: str = "iterator",
    ) -> None:
        first = next(iter(make()), None)
        if first is None or first.ndim != 2:
            raise ValueError(f"{name}: expected tensors of (rows, d), got {first!r}")
        self.name, self.width, self.target_width = name, first.shape[1], None
        self.outliers = outliers
        self._make, self._held_out = make, held_out

    @property
    def held_out_rows(self) -> int:
        """How many rows `validation` gives."""
        return 0 if self._held_out is None else len(self._held_out)

    def stream(self, rows: int, *, drawn: int = 0) -> Iterator[Taken]:
        """Rows in batches of `rows`; to go on from the `drawn`-th, those before are read over."""
        left = torch.empty(0, self.width)
        for part in self._parts():
            if drawn >= len(part):
                drawn -= len(part)
                continue
            part = part[drawn:]
            drawn = 0
            left = torch.cat([left.to(part), part]) if len(left) else part
            while len(left) >= rows:
                yield Taken(left[:rows])
                left = left[rows:]

    def validation(self, rows: int, *, limit: int | None = None) -> Iterator[Taken]:
        """The held-out rows once."""
        if self._held_out is not None:
            for part in torch.split(self._held_out[:limit], rows):
                yield Taken(part)

    def _parts(self) -> Iterator[Tensor]:
        while True:
            parts = iter(self._make())
            first = list(islice(parts, 1))
            if not first:
                return
            yield from first
            yield from parts
