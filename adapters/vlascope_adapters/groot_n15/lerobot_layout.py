"""GR00T N1.5 as lerobot 0.4 and 0.5 saved it; lerobot 0.6 reads N1.7 only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlascope.errors import CorruptFile, IncompatibleError
from vlascope_adapters.checkpoints import fetch, read_json, read_tensors
from vlascope_adapters.groot_n15.embodiment import EMBODIMENTS, Embodiment, Scale
from vlascope_adapters.groot_n15.published import published
from vlascope_adapters.lerobot.checkpoint import hints

__all__ = ["KIND", "PREFIX", "hints", "network_config", "read_embodiment"]

KIND = "groot"
"""lerobot's name of the policy type, which its N1.7 policies share."""

PREFIX = "_groot_model."

_BASE = "nvidia/GR00T-N1.5-3B"
_PRE, _POST = "policy_preprocessor.json", "policy_postprocessor.json"
_PACK, _UNPACK = "groot_pack_inputs_v3", "groot_action_unpack_unnormalize_v1"


def network_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The network's config: that of the checkpoint that the training started from.

    Raises:
        FileMissing: it started from a checkpoint that is not here.
    """
    base = str(config.get("base_model_path") or _BASE)
    if base == _BASE:
        return dict(published()["config"])
    return read_json(fetch(base, ["config.json"]), "config.json")


def read_embodiment(folder: Path, config: Mapping[str, Any], checkpoint: str) -> Embodiment:
    """The robot that the policy was trained on, from lerobot's processor files.

    Raises:
        FileMissing: a processor file is not there.
        IncompatibleError: they are of another GR00T than N1.5.
        CorruptFile: they are not as lerobot writes them.
    """
    before, after = _step(folder, _PRE, _PACK), _step(folder, _POST, _UNPACK)
    if before is None or after is None:
        raise IncompatibleError(
            f"{checkpoint} is a GR00T of lerobot's, but not N1.5: its processors have no steps "
            f"{_PACK} and {_UNPACK}. The adapter 'groot' reads N1.7"
        )
    try:
        options = before["config"]
        tag = options["embodiment_tag"]
        shown = [key for key, f in config["input_features"].items() if f["type"] == "VISUAL"]
        return Embodiment(
            tag=tag,
            state=_scale(read_tensors(folder, before["state_file"]), "observation.state"),
            action=_scale(read_tensors(folder, after["state_file"]), "action"),
            video=tuple(sorted(shown)),
            crop=None,
            projector=int({**EMBODIMENTS, **options.get("embodiment_mapping", {})}[tag]),
            default_instruction="Perform the task.",
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptFile(
            f"the processor files of {checkpoint} are not as lerobot 0.4 and 0.5 wrote them "
            f"({type(error).__name__}: {error}); download it again"
        ) from error


def _step(folder: Path, file: str, name: str) -> dict[str, Any] | None:
    steps = read_json(folder, file).get("steps", [])
    return next((step for step in steps if step.get("registry_name") == name), None)


def _scale(statistics: Mapping[str, Tensor], key: str) -> Scale:
    low, high = (statistics[f"{key}.{end}"].float().flatten() for end in ("min", "max"))
    return Scale(low, high - low, torch.zeros(len(low), dtype=torch.bool))
