"""A checkpoint of GR00T N1.5 in the layout of nvidia/GR00T-N1.5-3B."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vlascope.errors import CorruptFile, IncompatibleError
from vlascope_adapters.checkpoints import fetch, load_exactly, read_json, read_tensors
from vlascope_adapters.groot_n15.eagle import Eagle
from vlascope_adapters.groot_n15.embodiment import DataConfig, Embodiment, read_embodiment
from vlascope_adapters.groot_n15.network import GR00TN15

__all__ = ["Parts", "read_checkpoint"]

_KIND = "gr00t_n1_5"
_FILES = ("*.json", "*.safetensors", "experiment_cfg/*.json")
_POOLING = "backbone.eagle_model.vision_model.vision_model.head."
_WORDS = (
    "backbone.eagle_model.language_model.model.embed_tokens.weight",
    "backbone.eagle_model.language_model.lm_head.weight",
)


@dataclass(frozen=True, eq=False)
class Parts:
    """What a policy is made of.

    Attributes:
        network: with its weights.
        eagle: what turns pictures and instructions into the network's inputs.
        embodiment: how its numbers are normalised.
    """

    network: GR00TN15
    eagle: Eagle
    embodiment: Embodiment


def read_checkpoint(
    checkpoint: str,
    eagle: Eagle,
    *,
    embodiment: str | None,
    data: DataConfig,
    revision: str | None = None,
) -> Parts:
    """Everything of a checkpoint, verified.

    Raises:
        FileMissing: the checkpoint or one of its files is not there.
        IncompatibleError: it is of another kind, or of several robots and none was asked for.
        UnknownName: it has no such embodiment, or an embodiment no such key.
        CorruptFile: a file is truncated, or tensors are missing, extra or of another shape.
    """
    folder = fetch(checkpoint, _FILES, revision=revision)
    config = _config(folder, checkpoint)
    robot = read_embodiment(folder, embodiment, data)
    tensors = _both_embeddings(read_tensors(folder))
    network = _network(config, eagle, tensors, checkpoint)
    load_exactly(network, tensors, checkpoint)
    return Parts(network, eagle, robot)


def _both_embeddings(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with both word embeddings: a checkpoint of a tied model holds one for two."""
    there = [name for name in _WORDS if name in tensors]
    if len(there) != 1:
        return dict(tensors)
    return {**tensors, **dict.fromkeys(_WORDS, tensors[there[0]])}


def _config(folder: Path, checkpoint: str) -> dict[str, Any]:
    config = read_json(folder, "config.json")
    kind = config.get("model_type") or config.get("type")
    if kind != _KIND:
        advice = (
            "lerobot's own layout of a GR00T policy is read by the adapter 'groot' (N1.7)"
            if kind == "groot"
            else "use the adapter of its kind"
        )
        raise IncompatibleError(
            f"{checkpoint} is a {kind!r} checkpoint, not {_KIND!r} in the layout of "
            f"nvidia/GR00T-N1.5-3B; {advice}"
        )
    return config


def _network(
    config: Mapping[str, Any], eagle: Eagle, tensors: Mapping[str, Tensor], checkpoint: str
) -> GR00TN15:
    try:
        pooling = any(name.startswith(_POOLING) for name in tensors)
        return GR00TN15(config, eagle.config, pooling=pooling)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(
            f"config.json of {checkpoint} does not describe a GR00T N1.5 "
            f"({type(error).__name__}: {error}); download it again"
        ) from error
