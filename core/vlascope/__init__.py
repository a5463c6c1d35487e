"""The microscope for vision-language-action policies.

Names are imported when first used, so `import vlascope` stays free of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo as AdapterInfo
    from vlascope.adapter import VLAAdapter as VLAAdapter
    from vlascope.benchmark import BenchmarkEnv as BenchmarkEnv
    from vlascope.benchmark import BenchmarkInfo as BenchmarkInfo
    from vlascope.benchmark import Task as Task
    from vlascope.hooks import HookPoint as HookPoint
    from vlascope.hooks import Moment as Moment
    from vlascope.hooks import Pathway as Pathway
    from vlascope.hooks import TokenSpans as TokenSpans
    from vlascope.hookspecs import hookimpl as hookimpl
    from vlascope.intervening import intervene as intervene
    from vlascope.loading import load as load
    from vlascope.recording import RecordSpec as RecordSpec
    from vlascope.recording import capture as capture
    from vlascope.recording import record as record
    from vlascope.specs import ActionSpec as ActionSpec
    from vlascope.specs import CameraSpec as CameraSpec
    from vlascope.specs import StateSpec as StateSpec
    from vlascope.specs import check_compatible as check_compatible
    from vlascope.types import ActionChunk as ActionChunk
    from vlascope.types import Observation as Observation
    from vlascope.types import Pose as Pose
    from vlascope.types import StepResult as StepResult

__version__ = "0.1.0"

_HOMES = {
    "AdapterInfo": "adapter",
    "VLAAdapter": "adapter",
    "BenchmarkEnv": "benchmark",
    "BenchmarkInfo": "benchmark",
    "Task": "benchmark",
    "HookPoint": "hooks",
    "Moment": "hooks",
    "Pathway": "hooks",
    "TokenSpans": "hooks",
    "hookimpl": "hookspecs",
    "intervene": "intervening",
    "load": "loading",
    "RecordSpec": "recording",
    "capture": "recording",
    "record": "recording",
    "ActionSpec": "specs",
    "CameraSpec": "specs",
    "StateSpec": "specs",
    "check_compatible": "specs",
    "ActionChunk": "types",
    "Observation": "types",
    "Pose": "types",
    "StepResult": "types",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vlascope' has no attribute {name!r}")
    return getattr(import_module(f"vlascope.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
