"""Training the autoencoders of one hook point on rows in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from vlascope_sae.architectures import build
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.recipes.options import Per, SAEOptions
from vlascope_sae.recipes.rows import EpisodeRows
from vlascope_sae.training.memory_source import TensorSource
from vlascope_sae.training.source import Taken
from vlascope_sae.training.spec import TrainingSpec
from vlascope_sae.training.trainer import Trainer

__all__ = ["fitted"]

_SAMPLE: Final = 8192
"""Rows from which normalisation and starting values are estimated."""


def fitted(
    options: SAEOptions, episodes: Sequence[EpisodeRows], device: str
) -> Mapping[tuple[Per, float | None], SparseAutoencoder]:
    """Autoencoders for each kind of row and sparsity, all of these episodes being trained on.

    The sparsity that is played is None, the others are shares of the width.

    Raises:
        IncompatibleError: more latents are to fire than there are.
        UnusableActivations: rows are not finite, or all equal.
    """
    tokens = torch.cat([e.tokens for e in episodes])
    width = tokens.shape[1]
    wanted = {_name(l0): l0 for l0 in (None, *options.other_l0)}
    configs = {name: build(options.config(width, l0)).config for name, l0 in wanted.items()}
    sites = [
        (
            _InUnitsOf(tokens, torch.cat([e.of(per) for e in episodes]), per, options),
            configs,
        )
        for per in options.per
    ]
    spec = TrainingSpec(
        samples=options.steps * options.batch_size,
        batch_size=options.batch_size,
        lr=options.lr,
        sample_rows=_SAMPLE,
        checkpoint_every=options.steps * options.batch_size,
        seed=options.seed,
        device=device,
    )
    trained = Trainer(sites, spec).run()
    return {
        (per, l0): trained[f"{per}/{name}"].sae.eval().requires_grad_(False)
        for per in options.per
        for name, l0 in wanted.items()
    }


def _name(l0: float | None) -> str:
    return "sae" if l0 is None else f"sae_{l0:g}"


class _InUnitsOf(TensorSource):
    """Rows whose normalisation and starting values are those of single tokens.

    Pooled rows hardly vary in what differs from token to token: scaled by their own deviation, a
    token spliced in afterwards would lie far outside everything that was learned.
    """

    def __init__(self, tokens: Tensor, x: Tensor, per: Per, options: SAEOptions) -> None:
        super().__init__(x, validation=0.0, name=per, seed=options.seed)
        self._tokens = TensorSource(tokens, validation=0.0, name=per, seed=options.seed)

    def sample(self, rows: int) -> Taken:
        """Tokens."""
        return self._tokens.sample(rows)
