"""An autoencoder as an encoder that others use without knowing what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlascope.encoders import Encoder
from vlascope.hooks import HookPoint
from vlascope_sae.controls import feature_direction
from vlascope_sae.files import ABOUT, WEIGHTS, Trained, load_sae
from vlascope_sae.splicing import FeatureEdit

__all__ = ["SAEEncoder", "open_sae"]


@dataclass(frozen=True)
class SAEEncoder:
    """See `vlascope.encoders.Encoder`."""

    path: str
    trained: Trained

    @property
    def at(self) -> HookPoint | None:
        """Where it was trained."""
        name = self.trained.provenance.hook_point
        return HookPoint.parse(name) if name else None

    @property
    def tokens(self) -> tuple[str, ...] | None:
        """The spans it was trained on."""
        return self.trained.provenance.spans

    @property
    def calls(self) -> tuple[int, ...] | None:
        """The calls it was trained on."""
        return self.trained.provenance.calls

    @property
    def pool(self) -> str:
        """How tokens were put together."""
        return self.trained.provenance.pool

    @property
    def width(self) -> int:
        """Of what it reads."""
        return self.trained.sae.config.d_in

    @property
    def features(self) -> int:
        """Number of latents."""
        return self.trained.sae.config.d_sae

    @property
    def policy(self) -> str:
        """The weights it was trained on."""
        return self.trained.provenance.checkpoint_hash

    @torch.no_grad()
    def encode(self, rows: Tensor) -> Tensor:
        """Latents float32 (n, features); a signed latent counts above 0 only."""
        sae = self.trained.sae
        return sae.encode(rows.to(sae.W_enc.dtype)).float().clamp_min(0)

    def direction(self, feature: int) -> Tensor:
        """The feature's decoder row, (width,), in the units of the activations."""
        return feature_direction(self.trained.sae, feature).float()

    def edit(self, features: Sequence[int], *, add: float | None = None) -> dict[str, Any]:
        """A `sae_feature` intervention where it was trained."""
        change: dict[str, Any] = (
            {"mode": "ablate"} if add is None else {"mode": "add", "value": add}
        )
        made = FeatureEdit.where_trained(self.path, features=tuple(features), **change)
        return made.model_dump(mode="json", exclude_defaults=True)


def open_sae(path: Path) -> Encoder | None:
    """The autoencoder in a folder, ready to encode; None where there is none."""
    if not (path / ABOUT).exists() and not (path / WEIGHTS).exists():
        return None
    trained = load_sae(path)
    trained.sae.eval().requires_grad_(False)
    return SAEEncoder(str(path), trained)
