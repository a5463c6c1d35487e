"""Naming an autoencoder in plain data: by its folder, loaded when first used and kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import torch
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.files import Trained, load_sae, read_manifest

__all__ = ["SAEField", "SAEReference", "as_reference"]


@dataclass(frozen=True)
class SAEReference:
    """An autoencoder on disk, or one in memory, which JSON cannot name.

    Attributes:
        path: its folder; empty for one in memory.
        held: what is in memory.
    """

    path: str = ""
    held: Trained | None = None

    def __str__(self) -> str:
        return self.path or "an SAE in memory"

    def trained(self, device: torch.device | str = "cpu") -> Trained:
        """The autoencoder and what it was trained on, ready to be used on `device`.

        Raises:
            FileMissing: the folder is not there, or holds no autoencoder.
            CorruptFile: what it holds is truncated or foreign.
        """
        if self.held is not None:
            self.held.sae.eval().to(device)
            return self.held
        return _loaded(str(Path(self.path).resolve()), self.weights_sha256, str(device))

    def sae(self, device: torch.device | str = "cpu") -> SparseAutoencoder:
        """The autoencoder alone."""
        return self.trained(device).sae

    @property
    def weights_sha256(self) -> str:
        """What the folder says of its weights; empty for one in memory."""
        return "" if self.held is not None else read_manifest(self.path).weights_sha256


@lru_cache(maxsize=16)
def _loaded(folder: str, _weights: str, device: str) -> Trained:
    """One copy per folder, weights and device."""
    trained = load_sae(folder, device=device)
    trained.sae.eval().requires_grad_(False)
    return trained


def as_reference(given: object) -> SAEReference:
    """A reference from a folder, an autoencoder, or one with its provenance.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(given, SAEReference):
        return given
    if isinstance(given, Trained):
        return SAEReference(held=given)
    if isinstance(given, SparseAutoencoder):
        return SAEReference(held=Trained(given))
    if isinstance(given, str | Path) and str(given):
        return SAEReference(str(given))
    raise ValueError("an SAE is named by its folder, or given as a SparseAutoencoder")


def _dump(reference: SAEReference) -> str:
    if reference.held is not None:
        raise ValueError(
            "an SAE in memory has no folder to be named by in JSON: save it with save_sae and "
            "name that folder"
        )
    return reference.path


SAEField = Annotated[
    SAEReference,
    PlainValidator(as_reference),
    PlainSerializer(_dump),
    WithJsonSchema({"type": "string", "description": "the folder of an autoencoder"}),
]
"""An autoencoder that survives JSON: by its folder."""
