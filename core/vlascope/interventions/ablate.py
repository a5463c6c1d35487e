"""Taking information away."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Self

import torch
from pydantic import PrivateAttr
from torch import Tensor

from vlascope.errors import MisalignedActivations
from vlascope.hooks import Firing, HookPoint, Moment
from vlascope.interventions.fields import TensorsField
from vlascope.interventions.intervention import Intervention
from vlascope.interventions.sources import ActivationSource, SourceField

__all__ = ["Identity", "MeanAblate", "ResampleAblate", "ZeroAblate"]


class Identity(Intervention):
    """Change nothing: the control that shows what merely being hooked does."""

    kind: ClassVar[str] = "identity"

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """A copy of the activation."""
        return activation.clone()


class ZeroAblate(Intervention):
    """Replace by zeros."""

    kind: ClassVar[str] = "zero_ablate"

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """Zeros."""
        return torch.zeros_like(activation)


class MeanAblate(Intervention):
    """Replace by the mean activation of a reference data set.

    Attributes:
        means: by hook point, (width,) or (tokens, width).
    """

    kind: ClassVar[str] = "mean_ablate"
    means: TensorsField

    @classmethod
    def of(
        cls, source: ActivationSource, points: Sequence[HookPoint], *, per_token: bool = False
    ) -> Self:
        """The ablation to the mean over every moment that `source` recorded at `points`.

        Args:
            source: what to average.
            points: where.
            per_token: keep one mean per token position (all rows need the same length) instead
                of one over all tokens.
        """
        means = {}
        for point in points:
            rows = [source.lookup(point, m) for m in source.moments(point)]
            kept = [row.double() for row in rows if row is not None]
            if not kept:
                raise MisalignedActivations(f"the source recorded nothing at {point}")
            joined = torch.stack(kept) if per_token else torch.cat(kept)
            means[str(point)] = joined.mean(0).float()
        return cls(at=tuple(means), means=means)

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """The mean, for every row."""
        mean = self.means.get(str(firing.point))
        if mean is None:
            raise MisalignedActivations(f"no mean for {firing.point}; given: {list(self.means)}")
        if mean.shape[-1] != activation.shape[-1]:
            raise MisalignedActivations(
                f"the mean for {firing.point} is {mean.shape[-1]} wide, the activation is "
                f"{activation.shape[-1]}"
            )
        return mean.to(activation).expand_as(activation).clone()


class ResampleAblate(Intervention):
    """Replace by the activation of another, randomly drawn episode at the same coordinate.

    Attributes:
        source: episodes to draw from.
        seed: decides the draw together with the episode's name, so that every call of an
            episode's chunk sees the same donor.
    """

    kind: ClassVar[str] = "resample_ablate"
    source: SourceField
    seed: int = 0
    _donors: dict[HookPoint, dict[tuple[int, int, int], list[str]]] = PrivateAttr(
        default_factory=dict
    )

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """Each row's donor at the same step, chunk and call."""
        rows = zip(firing.moments, activation, strict=True)
        return torch.stack([self._drawn(firing.point, moment, row) for moment, row in rows])

    def _drawn(self, point: HookPoint, moment: Moment, row: Tensor) -> Tensor:
        recorded = self._recorded(point).get((moment.step, moment.chunk, moment.call), ())
        donors = [episode for episode in recorded if episode != moment.episode]
        if not donors:
            raise MisalignedActivations(f"no other episode was recorded at {point}, {moment}")
        text = f"{self.seed}/{moment.episode}/{moment.chunk}"
        draw = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        donor = replace(moment, episode=donors[draw % len(donors)])
        value = self.source.lookup(point, donor)
        assert value is not None  # it is among the recorded moments
        if value.shape != row.shape:
            raise MisalignedActivations(
                f"{point}: the donor {donor} is {tuple(value.shape)}, the row {tuple(row.shape)}"
            )
        return value.to(row)

    def _recorded(self, point: HookPoint) -> Mapping[tuple[int, int, int], list[str]]:
        """Episodes by coordinate, in name order."""
        if point not in self._donors:
            donors: dict[tuple[int, int, int], list[str]] = {}
            for m in sorted(self.source.moments(point), key=lambda m: m.episode):
                donors.setdefault((m.step, m.chunk, m.call), []).append(m.episode)
            self._donors[point] = donors
        return self._donors[point]
