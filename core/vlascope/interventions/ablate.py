"""Taking information away."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import ClassVar, Literal, Self

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

    An episode of the same task and seed is no other one, whatever its arm.

    Attributes:
        source: episodes to draw from.
        seed: decides the draw together with the episode's name, so that every call of an
            episode's chunk sees the same donor.
        donors: globs of the episodes to draw from (None: all the source holds).
        late: where every other episode was over by then, `refuse`, or take one's `last` moment.
    """

    kind: ClassVar[str] = "resample_ablate"
    source: SourceField
    seed: int = 0
    donors: tuple[str, ...] | None = None
    late: Literal["refuse", "last"] = "refuse"
    _donors: dict[HookPoint, dict[tuple[int, int, int], list[str]]] = PrivateAttr(
        default_factory=dict
    )
    _last: dict[HookPoint, dict[tuple[str, int], Moment]] = PrivateAttr(default_factory=dict)

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """Each row's donor at the same step, chunk and call."""
        rows = zip(firing.moments, activation, strict=True)
        return torch.stack([self._drawn(firing.point, moment, row) for moment, row in rows])

    def _drawn(self, point: HookPoint, moment: Moment, row: Tensor) -> Tensor:
        recorded = self._recorded(point).get((moment.step, moment.chunk, moment.call), ())
        others = [episode for episode in recorded if _cell(episode) != _cell(moment.episode)]
        text = f"{self.seed}/{moment.episode}/{moment.chunk}"
        draw = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        if others:
            donor = replace(moment, episode=others[draw % len(others)])
        else:
            donor = self._over(point, moment, draw)
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
                if self.donors is None or any(fnmatchcase(m.episode, g) for g in self.donors):
                    donors.setdefault((m.step, m.chunk, m.call), []).append(m.episode)
            self._donors[point] = donors
        return self._donors[point]

    def _over(self, point: HookPoint, moment: Moment, draw: int) -> Moment:
        """The last moment, at this call, of an episode that was over before this one."""
        if point not in self._last:
            self._last[point] = {
                (episode, call): Moment(episode, step, chunk, call)
                for (step, chunk, call), episodes in sorted(self._recorded(point).items())
                for episode in episodes
            }
        last = [
            found
            for (episode, call), found in sorted(self._last[point].items())
            if _cell(episode) != _cell(moment.episode) and call == moment.call
        ]
        if not last or self.late == "refuse":
            raise MisalignedActivations(f"no other episode was recorded at {point}, {moment}")
        return last[draw % len(last)]


def _cell(episode: str) -> str:
    """What episodes of different arms share: `task/seed` of `arm/task/seed`."""
    return episode.partition("/")[2] or episode
