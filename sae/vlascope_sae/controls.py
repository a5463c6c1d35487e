"""Controls of feature edits, made automatically: features that fire as often, random directions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from pydantic import Field, PrivateAttr
from torch import Tensor

from vlascope.errors import FileMissing, IncompatibleError
from vlascope.hooks import HookPoint
from vlascope.interventions import Identity, Intervention, RandomDirection
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.splicing import FeatureEdit

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo
    from vlascope_sae.features.index import FeatureIndex

__all__ = [
    "Match",
    "MatchedFeatureEdit",
    "controls_of",
    "feature_direction",
    "firing_rate_matches",
    "matched_edit",
    "random_edit",
]


@dataclass(frozen=True)
class Match:
    """A feature, and the one that stands in for it in the control.

    Attributes:
        feature, rate: the edited feature and the share of rows in which it fires.
        control, control_rate: another one that fires about as often.
    """

    feature: int
    rate: float
    control: int
    control_rate: float


def firing_rate_matches(
    rates: Sequence[float] | npt.NDArray[np.floating] | Tensor,
    features: Sequence[int],
    *,
    seed: int = 0,
    among: int = 1,
    exclude: Collection[int] = (),
) -> tuple[Match, ...]:
    """For each feature another one with the closest firing rate, none chosen twice.

    Distance is taken between logarithms, as rates spread over orders of magnitude: 0.1% is no
    match for 1%, 49% is one for 50%. `seed` decides between equally close ones, and whose turn
    comes first.

    Args:
        rates: share of rows in which each feature fires, by feature.
        features: those edited; never chosen themselves.
        seed: of the draw.
        among: draw from so many closest ones rather than take the closest.
        exclude: further features never to choose (those that mean the same, say).

    Raises:
        IncompatibleError: a feature never fires, or too few others do.
    """
    known = np.asarray(rates, dtype=np.float64)
    silent = [f for f in features if not (0 <= f < len(known) and known[f] > 0)]
    if silent:
        raise IncompatibleError(
            f"features {silent} never fired among the {len(known)} with a known rate: a feature "
            "without a firing rate has no control of equal rate"
        )
    free = {int(f) for f in np.flatnonzero(known > 0)} - set(features) - set(exclude)
    if len(free) < len(features):
        raise IncompatibleError(
            f"{len(features)} features need as many others that fire; there are {len(free)}"
        )
    rng = np.random.default_rng(seed)
    chosen: dict[int, int] = {}
    for feature in rng.permutation(np.asarray(features)).tolist():
        chosen[feature] = _closest(known, feature, sorted(free), rng, among)
        free.remove(chosen[feature])
    return tuple(Match(f, known[f].item(), chosen[f], known[chosen[f]].item()) for f in features)


def _closest(
    rates: npt.NDArray[np.float64],
    feature: int,
    free: Sequence[int],
    rng: np.random.Generator,
    among: int,
) -> int:
    shuffled = rng.permutation(np.asarray(free))
    distance = np.abs(np.log(rates[shuffled]) - np.log(rates[feature]))
    nearest = shuffled[np.argsort(distance, kind="stable")[: max(among, 1)]]
    return int(nearest[rng.integers(len(nearest))])


class MatchedFeatureEdit(FeatureEdit):
    """A feature edit made to other features that fire as often: the role `matched` in a study.

    Written with the features of the edit it controls; which ones stand in for them is looked up in
    a feature index before anything runs (`firing_rate_matches`).

    Attributes:
        index: folder of a feature index of this autoencoder; empty for `FOLDER/features` in the
            autoencoder's own.
        draw: seed that decides between equally close ones.
    """

    kind: ClassVar[str] = "sae_feature_matched"
    draw: int = Field(default=0, ge=0)
    _matches: tuple[Match, ...] | None = PrivateAttr(default=None)

    @property
    def matches(self) -> tuple[Match, ...]:
        """Which feature stands in for which, with both firing rates.

        Raises:
            FileMissing: there is no index.
            IncompatibleError: it is one of other weights, or a feature has no counterpart.
        """
        if self._matches is None:
            rates = self._index().column("firing_rate")
            self._matches = firing_rate_matches(rates, self.features, seed=self.draw)
        return self._matches

    def _index(self) -> FeatureIndex:
        from vlascope_sae.features.index import FeatureIndex
        from vlascope_sae.features.neighbours import check_same

        folder = self.index or (f"{self.sae.path}/features" if self.sae.path else "")
        if not folder or not Path(folder).exists():
            raise FileMissing(
                f"the matched control of {self.sae} needs the firing rates of its features, and "
                f"there is no {folder or 'feature index'}: make one with `vlascope features index "
                f"{self.sae.path or 'SAE'} STORE --out {folder or 'INDEX'}`, or name yours in the "
                "edit (`index: FOLDER`)"
            )
        opened = FeatureIndex.open(folder)
        check_same(opened, self.sae.sae())
        return opened

    def check(self, info: AdapterInfo, points: Sequence[HookPoint]) -> None:
        """Also find out who stands in for whom."""
        super().check(info, points)
        _ = self.matches

    def edit_rows(
        self, sae: SparseAutoencoder, x: Float[Tensor, "rows d"]
    ) -> Float[Tensor, "rows d"]:
        """The edit, of the features that stand in."""
        return matched_edit(self, self.matches).edit_rows(sae, x)


def matched_edit(edit: FeatureEdit, matches: Sequence[Match]) -> FeatureEdit:
    """The same edit made to the features that `matches` puts in place of its own."""
    stand_in = {match.feature: match.control for match in matches}
    known: dict[str, Any] = {name: getattr(edit, name) for name in FeatureEdit.model_fields}
    known["features"] = tuple(stand_in[f] for f in edit.features)
    return FeatureEdit(**known)


def random_edit(edit: Intervention, *, seed: int = 0) -> RandomDirection:
    """Each token moved as far as `edit` moves it, in a random direction."""
    return RandomDirection(**_where(edit), like=edit, seed=seed)


def controls_of(
    edit: FeatureEdit,
    rates: Sequence[float] | npt.NDArray[np.floating] | Tensor,
    *,
    seed: int = 0,
) -> dict[str, Intervention]:
    """Every control of a feature edit by role: identity, random direction, matched firing rate."""
    matches = firing_rate_matches(rates, edit.features, seed=seed)
    return {
        "identity": Identity(**_where(edit)),
        "random_direction": random_edit(edit, seed=seed),
        "firing_rate_matched": matched_edit(edit, matches),
    }


def feature_direction(sae: SparseAutoencoder, feature: int) -> Float[Tensor, " d"]:
    """The unit direction along which a feature moves activations, for `Steer` and `ProjectOut`.

    The decoder row in the units of the activations: with normalisation by dimension it is scaled
    by each dimension's standard deviation; by row, it is the same for every row.

    Raises:
        IncompatibleError: there is no such feature.
    """
    if not 0 <= feature < sae.config.d_sae:
        raise IncompatibleError(
            f"there are features 0..{sae.config.d_sae - 1}; there is no {feature}"
        )
    row = sae.W_dec.detach()[feature]
    if sae.normalise_out.foldable:
        row = row * sae.normalise_out.std
    return torch.nn.functional.normalize(row, dim=0).cpu()


def _where(edit: Intervention) -> dict[str, Any]:
    """Where and when an edit acts."""
    return {name: getattr(edit, name) for name in ("at", "calls", "steps", "tokens", "episodes")}
