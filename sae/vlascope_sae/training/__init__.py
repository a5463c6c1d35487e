"""Training: from activations to autoencoders, in bounded memory, resumable bit by bit."""

from __future__ import annotations

from vlascope_sae.training.dataset import DatasetSpec
from vlascope_sae.training.memory_source import IteratorSource, TensorSource
from vlascope_sae.training.source import Source
from vlascope_sae.training.spec import TrainingSpec
from vlascope_sae.training.store_source import StoreSource, sources_of
from vlascope_sae.training.trainer import Trainer, TrainingResult, train

__all__ = [
    "DatasetSpec",
    "IteratorSource",
    "Source",
    "StoreSource",
    "TensorSource",
    "Trainer",
    "TrainingResult",
    "TrainingSpec",
    "sources_of",
    "train",
]
