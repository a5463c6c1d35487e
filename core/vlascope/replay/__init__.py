"""Recorded episodes shown to a policy again, without a simulator deciding what comes next.

Names are imported when first used, so that listing what is installed stays free of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlascope.replay.dataset import Dataset as Dataset
    from vlascope.replay.dataset import Features as Features
    from vlascope.replay.dataset import Frame as Frame
    from vlascope.replay.dataset import Picture as Picture
    from vlascope.replay.dataset import RecordedEpisode as RecordedEpisode
    from vlascope.replay.dataset import Vector as Vector
    from vlascope.replay.exporting import export_run as export_run
    from vlascope.replay.filming import film_run as film_run
    from vlascope.replay.fitting import fit as fit
    from vlascope.replay.formats import DatasetFormat as DatasetFormat
    from vlascope.replay.formats import open_dataset as open_dataset
    from vlascope.replay.recording import record_dataset as record_dataset

_HOMES = {
    "Dataset": "dataset",
    "DatasetFormat": "formats",
    "Features": "dataset",
    "Frame": "dataset",
    "Picture": "dataset",
    "RecordedEpisode": "dataset",
    "Vector": "dataset",
    "export_run": "exporting",
    "film_run": "filming",
    "fit": "fitting",
    "open_dataset": "formats",
    "record_dataset": "recording",
}

__all__ = [
    "Dataset",
    "DatasetFormat",
    "Features",
    "Frame",
    "Picture",
    "RecordedEpisode",
    "Vector",
    "export_run",
    "film_run",
    "fit",
    "open_dataset",
    "record_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vlascope.replay' has no attribute {name!r}")
    return getattr(import_module(f"vlascope.replay.{_HOMES[name]}"), name)
