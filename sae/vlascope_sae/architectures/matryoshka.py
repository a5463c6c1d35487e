"""Matryoshka BatchTopK: nested dictionaries in one (Bussmann et al. 2025, arXiv 2503.17547)."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from jaxtyping import Float
from pydantic import field_validator
from torch import Tensor

from vlascope_sae.architectures.batch_topk import BatchTopK, BatchTopKConfig
from vlascope_sae.architectures.topk import fired_counts
from vlascope_sae.autoencoder import SAEConfig, Step
from vlascope_sae.kernels import Support, sparse_decode
from vlascope_sae.losses import Batch, finish

__all__ = ["Matryoshka", "MatryoshkaConfig"]


class MatryoshkaConfig(BatchTopKConfig):
    """The nested autoencoder's own settings.

    Attributes:
        prefixes: the nested dictionaries, as rising shares of the latents; the last is 1.
    """

    architecture: str = "matryoshka"
    prefixes: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)

    @field_validator("prefixes")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or value[-1] != 1 or value[0] <= 0 or sorted(set(value)) != list(value):
            raise ValueError(f"got prefixes {value}; expected rising shares that end with 1.0")
        return value


class Matryoshka(BatchTopK):
    """BatchTopK whose first latents must reconstruct alone, and so stay general."""

    config_class: ClassVar[type[SAEConfig]] = MatryoshkaConfig

    @property
    def ends(self) -> tuple[int, ...]:
        """Where the nested dictionaries end."""
        shares = cast(MatryoshkaConfig, self.config).prefixes
        return tuple(sorted({max(round(share * self.config.d_sae), 1) for share in shares}))

    def step(
        self,
        x: Float[Tensor, "rows d"],
        target: Float[Tensor, "rows o"] | None = None,
        *,
        dead: Tensor | None = None,
        progress: float = 1.0,
    ) -> Step:
        """The mean squared error of the nested reconstructions."""
        del progress
        batch = Batch.of(self, x, target)
        values, support = self.fire(batch.n)
        whole = self.b_dec.expand_as(batch.target)
        errors: list[Tensor] = []
        for part in self._parts(values, support):
            whole = whole + part
            errors.append(batch.loss(whole))
        counts = fired_counts(values, support)
        made = finish(self, batch, whole, counts, dead=dead, error=torch.stack(errors).mean())
        made.parts["reconstruction"] = errors[-1].detach()
        made.parts["nested"] = torch.stack(errors).mean().detach()
        return made

    def _parts(self, values: Tensor, support: Support) -> list[Tensor]:
        """What each group of latents adds to the reconstruction."""
        bounds = list(zip((0, *self.ends), self.ends, strict=False))
        if self._dense(support) or values.device.type != "cpu":
            z = values.new_zeros(len(support.offsets), self.config.d_sae)
            z = z.index_put((support.rows, support.indices), values)
            return [z[:, start:end] @ self.W_dec[start:end] for start, end in bounds]
        parts: list[Tensor] = []
        for start, end in bounds:
            chosen, group = support.between(start, end)
            parts.append(sparse_decode(values[chosen], self.W_dec[start:end], group))
        return parts
