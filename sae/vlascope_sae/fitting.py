"""Whether an autoencoder belongs where it is about to be spliced in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from torch import Tensor

from vlascope.errors import IncompatibleError
from vlascope.hooks import HookPoint
from vlascope_sae.provenance import check_fits

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo
    from vlascope_sae.autoencoder import SparseAutoencoder
    from vlascope_sae.reference import SAEReference

__all__ = ["refuse_elsewhere", "refuse_other_units"]

_FAR: Final = 30.0
"""Activations this many times as large as those trained on are in other units."""


def refuse_elsewhere(
    reference: SAEReference,
    info: AdapterInfo,
    points: Sequence[HookPoint],
    *,
    any_checkpoint: bool = False,
    weights_sha256: str = "",
) -> None:
    """Check what can be known before anything is inferred.

    Args:
        reference: the autoencoder; one in memory without provenance may go with any policy.
        info: the policy it would be spliced into.
        points: where.
        any_checkpoint: let a policy with other weights than it was trained on pass.
        weights_sha256: what its weights must be; empty for whatever the folder holds.

    Raises:
        IncompatibleError: it is a transcoder, its normalisation was never fitted, its weights are
            not those named, a point has another width or is not the one trained at, or it was
            trained on another checkpoint.
    """
    trained = reference.trained()
    found = reference.weights_sha256
    if weights_sha256 and found != weights_sha256:
        raise IncompatibleError(
            f"{reference} holds other weights ({found[:12]}) than this edit was made for "
            f"({weights_sha256[:12]}): it was trained anew; make the edit (or the study) anew too"
        )
    if trained.sae.is_transcoder:
        raise IncompatibleError(
            f"{reference} is a transcoder: it reads one site and predicts another, so what it "
            "makes of an activation cannot take that activation's place"
        )
    _refuse_unfitted(reference, trained.sae)
    unknown = reference.held is not None and not trained.provenance.checkpoint_hash
    for point in points:
        try:
            check_fits(trained, info, point, any_checkpoint=any_checkpoint or unknown)
        except IncompatibleError as error:
            raise IncompatibleError(f"{reference}: {error}") from error


def refuse_other_units(reference: SAEReference, x: Tensor, point: HookPoint) -> None:
    """Check that activations are of the size that the fitted normalisation expects.

    There is nothing to compare with where normalisation is none or by row, nor where training
    pooled tokens: a mean over many tokens varies far less than each of them.

    Raises:
        IncompatibleError: they are not, by far.
    """
    trained = reference.trained(x.device)
    kind = trained.sae.config.normalise
    if kind not in ("zscore", "unit_norm") or trained.provenance.pool != "none":
        return
    typical = trained.sae.normalise_in(x)[0].abs().median().item()
    if typical > _FAR:
        raise IncompatibleError(
            f"{reference} normalises by {kind}, and activations at {point} are {typical:.0f} times "
            "as large as those it was trained on: it belongs to another checkpoint or to other "
            "tokens (name them in `tokens`), or its training data had been normalised before"
        )


def _refuse_unfitted(reference: SAEReference, sae: SparseAutoencoder) -> None:
    kind, found = sae.config.normalise, sae.normalise_in
    if kind in ("zscore", "unit_norm") and (found.std == 1).all() and (found.mean == 0).all():
        raise IncompatibleError(
            f"{reference} is said to normalise by {kind}, but its mean and scale were never "
            "fitted: train it, or fit them with sae.normalise_in.fit(rows)"
        )
