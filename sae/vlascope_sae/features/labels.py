"""What people say of features: general or memorised, and in words; kept beside the index."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlascope.errors import CorruptFile, IncompatibleError
from vlascope.store.durable import write_atomically
from vlascope_sae.features.index import FeatureIndex

__all__ = ["FILE", "FeatureLabel", "FeatureLabels"]

FILE: Final = "labels.json"


class FeatureLabel(BaseModel):
    """What is said of one feature; `general` is None where nobody has decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    general: bool | None = None
    words: str = ""


class FeatureLabels(BaseModel):
    """The labels of one index, by feature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.feature-labels/1"] = "vlascope.feature-labels/1"
    sae_hash: str
    labels: dict[int, FeatureLabel] = Field(default_factory=dict)

    @classmethod
    def of(cls, index: FeatureIndex) -> FeatureLabels:
        """The labels given so far.

        Raises:
            CorruptFile: the file is something else.
            IncompatibleError: the labels are of another autoencoder's features.
        """
        path, sae_hash = index.path / FILE, index.manifest.sae_hash
        if not path.exists():
            return cls(sae_hash=sae_hash)
        try:
            found = cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise CorruptFile(
                f"{path} holds no vlascope.feature-labels/1: {error.errors()[0]['msg']}; "
                "move it away to start with no labels"
            ) from error
        if found.sae_hash != sae_hash:
            raise IncompatibleError(
                f"{path} labels the features of autoencoder {found.sae_hash[:12]}, but the index "
                f"is of {sae_hash[:12]}: features of the same number have nothing in common"
            )
        return found

    def with_label(self, feature: int, label: FeatureLabel) -> FeatureLabels:
        """These labels and one more, or one changed."""
        return self.model_copy(update={"labels": {**self.labels, feature: label}})

    def save(self, index: FeatureIndex) -> Path:
        """Write them beside the index, whole or not at all."""
        path = index.path / FILE
        write_atomically(path, self.model_dump_json(indent=1).encode())
        return path

    def decided(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The features somebody has decided on, in order, and whether each is general."""
        pairs = [(f, la.general) for f, la in sorted(self.labels.items()) if la.general is not None]
        features = np.array([feature for feature, _ in pairs], np.int64)
        return features, np.array([general for _, general in pairs], np.bool_)
