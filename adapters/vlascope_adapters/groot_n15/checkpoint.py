"""Checkpoints of GR00T N1.5: opened, then built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vlascope.errors import CorruptFile, IncompatibleError
from vlascope_adapters.checkpoints import fetch, load_exactly, read_json, read_tensors
from vlascope_adapters.groot_n15 import lerobot_layout as lerobot
from vlascope_adapters.groot_n15.eagle import Eagle
from vlascope_adapters.groot_n15.embodiment import DataConfig, Embodiment, read_embodiment
from vlascope_adapters.groot_n15.network import GR00TN15

__all__ = ["Opened", "Parts", "build", "open_checkpoint"]

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


@dataclass(frozen=True, eq=False)
class Opened:
    """A checkpoint whose small files have been read, and whose weights have not.

    Attributes:
        name: what the user called it; `folder` is where it lies.
        config: the network's, as NVIDIA writes it.
        embodiment: how its numbers are normalised.
        prefix: what stands before every tensor's name.
        hints: names that tell which robot it was trained for.
        executed: actions that are executed of a chunk, where the checkpoint says it.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    embodiment: Embodiment
    prefix: str = ""
    hints: tuple[str, ...] = ()
    executed: int | None = None


def open_checkpoint(
    checkpoint: str, *, embodiment: str | None, data: DataConfig, revision: str | None = None
) -> Opened:
    """A checkpoint in NVIDIA's layout, or in that of lerobot 0.4 and 0.5.

    Raises:
        FileMissing: the checkpoint or one of its files is not there.
        IncompatibleError: it is of another kind, or of several robots and none was asked for.
        UnknownName: it has no such embodiment, or an embodiment no such key.
        CorruptFile: a file is not what it should be.
    """
    folder = fetch(checkpoint, _FILES, revision=revision)
    config = read_json(folder, "config.json")
    hints = tuple(lerobot.hints(folder, checkpoint))
    if config.get("type") == lerobot.KIND:
        own = lerobot.read_embodiment(folder, config, checkpoint)
        executed = int(config.get("n_action_steps", 1))
        network = lerobot.network_config(config)
        return Opened(checkpoint, folder, network, own, lerobot.PREFIX, hints, executed)
    if config.get("model_type") != _KIND:
        kind = config.get("model_type") or config.get("type")
        raise IncompatibleError(
            f"{checkpoint} is a {kind!r} checkpoint, not {_KIND!r} in the layout of "
            "nvidia/GR00T-N1.5-3B nor a policy of lerobot 0.4 or 0.5; use the adapter of its kind"
        )
    return Opened(checkpoint, folder, config, read_embodiment(folder, embodiment, data), "", hints)


def build(opened: Opened, eagle: Eagle) -> Parts:
    """The network with its weights, every tensor of them or nothing.

    Raises:
        FileMissing: there are none.
        CorruptFile: a file is truncated, or tensors are missing, extra or of another shape.
    """
    tensors = _both_embeddings(
        {name.removeprefix(opened.prefix): t for name, t in read_tensors(opened.folder).items()}
    )
    network = _network(opened, eagle, tensors)
    load_exactly(network, tensors, opened.name)
    return Parts(network, eagle, opened.embodiment)


def _both_embeddings(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with both word embeddings: a checkpoint of a tied model holds one for two."""
    there = [name for name in _WORDS if name in tensors]
    if len(there) != 1:
        return dict(tensors)
    return {**tensors, **dict.fromkeys(_WORDS, tensors[there[0]])}


def _network(opened: Opened, eagle: Eagle, tensors: Mapping[str, Tensor]) -> GR00TN15:
    try:
        pooling = any(name.startswith(_POOLING) for name in tensors)
        return GR00TN15(opened.config, eagle.config, pooling=pooling)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(
            f"config.json of {opened.name} does not describe a GR00T N1.5 "
            f"({type(error).__name__}: {error}); download it again"
        ) from error
