"""Controls of feature edits, made automatically: features that fire as often, random directions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from vlascope.errors import IncompatibleError
from vlascope.interventions import Identity, Intervention, RandomDirection
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.splicing import FeatureEdit

__all__ = [
    "Match",
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


def matched_edit(edit: FeatureEdit, matches: Sequence[Match]) -> FeatureEdit:
    """The same edit made to the features that `matches` puts in place of its own."""
    stand_in = {match.feature: match.control for match in matches}
    return edit.restricted(features=tuple(stand_in[f] for f in edit.features))


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
