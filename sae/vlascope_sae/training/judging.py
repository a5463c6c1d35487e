"""A trained autoencoder on the episodes that its training held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlascope.errors import IncompatibleError
from vlascope.hooks import HookPoint
from vlascope.store import ActivationStore
from vlascope_sae.evaluation.reconstruction import evaluate_reconstruction
from vlascope_sae.evaluation.schema import ReconstructionQuality
from vlascope_sae.files import load_sae
from vlascope_sae.training.dataset import DatasetSpec
from vlascope_sae.training.source import median_norm, without_outliers
from vlascope_sae.training.store_source import StoreSource

__all__ = ["held_out_quality"]

_ROWS = 8192


def held_out_quality(
    folder: str | Path,
    *,
    store: str | Path | None = None,
    overrides: dict[str, Any] | None = None,
    limit: int | None = None,
    device: str = "cpu",
) -> ReconstructionQuality:
    """Rebuild the held-out rows: those of the training's own split, outliers left out as there.

    Args:
        folder: what `sae train` wrote.
        store: another store to judge on; by default the one trained on.
        overrides: fields of the training's `DatasetSpec` that shall be others.
        limit: look at so many rows only, spread over the episodes.
        device: where to compute.

    Raises:
        IncompatibleError: the autoencoder does not say what it was trained on, or nothing is
            held out.
    """
    trained = load_sae(folder, device=device)
    about = trained.provenance
    if not about.hook_point or "rows" not in about.training:
        raise IncompatibleError(
            f"{folder} does not say which rows it was trained on, so none are known to be held "
            "out; evaluate_reconstruction takes rows of your own choice"
        )
    spec = DatasetSpec(**{**about.training["rows"], **(overrides or {})})
    opened = ActivationStore.open(store or about.training["store"])
    target = None if about.output_point is None else HookPoint.parse(about.output_point)
    source = StoreSource(opened, HookPoint.parse(about.hook_point), spec, target=target)
    if not source.held_out_rows:
        raise IncompatibleError(
            f"{folder} was trained on every episode (validation: {spec.validation}); give "
            "episodes that it has not seen in another store"
        )
    most = None
    if spec.outliers is not None:
        rows = int(about.training["training"]["sample_rows"])
        most = spec.outliers * median_norm(source.sample(rows).x, source.name)
    batches = (
        without_outliers(t, most, source.name) for t in source.validation(_ROWS, limit=limit)
    )
    return evaluate_reconstruction(trained.sae, ((b.x, b.target) for b in batches), str(folder))
