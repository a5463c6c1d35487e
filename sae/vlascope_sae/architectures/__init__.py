"""The architectures, one small module each; `build` makes one from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlascope.plugins import load
from vlascope_sae.autoencoder import SAEConfig, SparseAutoencoder

__all__ = ["build", "sae_class"]


def sae_class(name: str) -> type[SparseAutoencoder]:
    """The architecture of that name.

    Raises:
        UnknownName: nothing goes by that name; near matches are listed.
    """
    found: type[SparseAutoencoder] = load("saes", name)
    return found


def build(config: SAEConfig | Mapping[str, Any]) -> SparseAutoencoder:
    """A new autoencoder, as its configuration says (a mapping is validated first).

    Raises:
        UnknownName: the architecture is not registered.
        ValidationError: a field is missing, unknown or out of range.
    """
    if isinstance(config, SAEConfig):
        return sae_class(config.architecture)(config)
    architecture = sae_class(str(config["architecture"]))
    return architecture(architecture.config_class.model_validate(dict(config)))
