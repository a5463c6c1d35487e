"""How the autoencoders of a training file are trained: what is written, and what papers say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vlascope_sae import presets
from vlascope_sae.presets import ActionAtlas, DrVLA
from vlascope_sae.training.spec import OPTIMISER, TrainingSpec

__all__ = ["batch_as_published", "preset_of", "settings_of"]

_FIELDS_OF_PRESETS = {"learning_rate": "lr"}


def batch_as_published(how: TrainingSpec, saes: Iterable[Mapping[str, Any]]) -> TrainingSpec:
    """The file's training; where it names no batch and its presets agree on one, with theirs."""
    batches = {preset.batch_size for fields in saes if (preset := _published(fields))}
    if "batch_size" in how.model_fields_set or len(batches) != 1:
        return how
    return how.model_copy(update={"batch_size": batches.pop()})


def settings_of(
    fields: Mapping[str, Any], how: TrainingSpec, written: TrainingSpec
) -> TrainingSpec:
    """How one autoencoder is trained.

    What its own `training` says counts most, then the preset's own fields, then the file's
    `training`, then what the preset's paper says.

    Args:
        fields: of the autoencoder, as the file has them.
        how: how everything is trained.
        written: the file's `training`, which knows what was written and what is a default.

    Raises:
        ValueError: its own `training` is no mapping, or names what all must share.
    """
    update: dict[str, Any] = {}
    if preset := _published(fields):
        given = {_FIELDS_OF_PRESETS.get(field, field) for field in fields}
        update = {
            name: value
            for name, value in preset.training.items()
            if name in OPTIMISER and (name in given or name not in written.model_fields_set)
        }
    own = fields.get("training", {})
    if not isinstance(own, Mapping):
        raise ValueError(f"`training` of an SAE holds settings of its optimiser; got {own!r}")
    if unknown := sorted(set(own) - set(OPTIMISER)):
        raise ValueError(
            f"{', '.join(map(str, unknown))}: no setting of an SAE's optimiser; those are "
            f"{', '.join(OPTIMISER)}"
        )
    return TrainingSpec.model_validate({**how.model_dump(), **update, **own})


def preset_of(fields: Mapping[str, Any], d: int, how: TrainingSpec) -> DrVLA | ActionAtlas:
    """A preset whose dead latents are counted in this training's batches.

    Raises:
        TypeError: it has no such field.
    """
    given = {name: value for name, value in fields.items() if name not in ("preset", "training")}
    if "batch_size" in how.model_fields_set:
        given.setdefault("batch_size", how.batch_size)
    found: DrVLA | ActionAtlas = getattr(presets, fields["preset"])(d=d, **given)
    return found


def _published(fields: Mapping[str, Any]) -> DrVLA | ActionAtlas | None:
    """The preset that an autoencoder names; a wrong one is told of where it is made."""
    if fields.get("preset") not in presets.__all__:
        return None
    try:
        return preset_of(fields, 1, TrainingSpec(samples=1))
    except TypeError:
        return None
