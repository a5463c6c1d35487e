"""Checkpoints in the hub's layout: read, and written."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError, unknown_name
from vlascope_adapters.checkpoints import read_json
from vlascope_adapters.openvla.architecture import Architecture
from vlascope_adapters.openvla.preparation import PictureProcessor, Prompter

__all__ = ["FILES", "Release", "has_component", "merged_lora", "read_component", "read_release"]

FILES = ("*.json", "model*.safetensors", "*--*_checkpoint.pt")
"""What is fetched of a repository on the hub."""

_STATISTICS, _PICTURES = "dataset_statistics.json", "preprocessor_config.json"
_LORA_ALPHA = 16
_LORA = re.compile(
    r"(?P<module>.+)\.(?P<part>base_layer|lora_A\.default|lora_B\.default)\.(?P<tensor>\w+)"
)


@dataclass(frozen=True, eq=False)
class Release:
    """What a checkpoint holds beside its weights.

    Attributes:
        architecture: of the network.
        pictures: how the cameras' pictures are prepared.
        prompter: how the network is asked.
        dataset: whose statistics scale actions and state.
        statistics: those, by `action` and `proprio`.
    """

    architecture: Architecture
    pictures: PictureProcessor
    prompter: Prompter
    dataset: str
    statistics: Mapping[str, Mapping[str, Any]]

    def statistics_of(self, name: str) -> Mapping[str, Any]:
        """Those of `action` or `proprio`.

        Raises:
            CorruptFile: the dataset has none.
        """
        if name not in self.statistics:
            raise CorruptFile(
                f"the statistics of {self.dataset!r} are of {sorted(self.statistics)}, and not of "
                f"{name}; is it the dataset that this checkpoint was trained on?"
            )
        return self.statistics[name]


def read_release(
    folder: Path,
    checkpoint: str,
    *,
    unnorm_key: str | None = None,
    center_crop: bool | None = None,
    tokenizer: Path | None = None,
) -> Release:
    """Everything but the weights.

    Args:
        folder: of the checkpoint.
        checkpoint: what to call it in errors.
        unnorm_key: the dataset whose statistics count; by default the only one there is.
        center_crop: whether pictures are cropped; by default where the checkpoint is a fine-tuned
            one, which is where it has a `dataset_statistics.json` of its own.
        tokenizer: the folder that holds `tokenizer.json`, by default the checkpoint's.

    Raises:
        FileMissing: a file is not there; says where it can be had.
        IncompatibleError: it is a checkpoint of another architecture.
        UnknownName: it has no statistics of that dataset, or of several and none was named.
        CorruptFile: a file does not hold what it should.
    """
    config = read_json(folder, "config.json")
    architecture = Architecture.from_config(config, checkpoint)
    if not (folder / _PICTURES).is_file():
        raise FileMissing(
            f"{checkpoint} has no {_PICTURES}. Every OpenVLA has the same: `hf download "
            f"openvla/openvla-7b {_PICTURES} --local-dir {folder}`"
        )
    fine_tuned = (folder / _STATISTICS).is_file()
    everything = read_json(folder, _STATISTICS) if fine_tuned else config.get("norm_stats") or {}
    dataset = _dataset(everything, unnorm_key, checkpoint)
    crop = fine_tuned if center_crop is None else center_crop
    return Release(
        architecture,
        PictureProcessor.from_config(
            read_json(folder, _PICTURES), architecture.image_size, crop=crop
        ),
        Prompter.from_file((tokenizer or folder) / "tokenizer.json"),
        dataset,
        everything[dataset],
    )


def read_component(folder: Path, name: str, checkpoint: str) -> dict[str, Tensor]:
    """The tensors of `NAME--STEPS_checkpoint.pt`, a pickle that is read as tensors alone.

    Raises:
        FileMissing: there is none, or more than one.
        CorruptFile: it is truncated, or holds something else than tensors by name.
    """
    found = sorted(folder.glob(f"{name}--*_checkpoint.pt"))
    if len(found) != 1:
        raise FileMissing(
            f"{checkpoint} has {[p.name for p in found] or 'no'} {name}--STEPS_checkpoint.pt and "
            "needs exactly one"
        )
    try:
        tensors = torch.load(found[0], map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CorruptFile(
            f"{found[0]} is truncated or holds more than tensors ({str(error).splitlines()[0]}); "
            "download it again"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise CorruptFile(f"{found[0]} does not hold tensors by name; download it again")
    return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}


def has_component(folder: Path, name: str) -> bool:
    """Whether there is a `NAME--STEPS_checkpoint.pt`."""
    return any(folder.glob(f"{name}--*_checkpoint.pt"))


def merged_lora(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with their low-rank updates added, under the names they have without.

    As peft does it: base + alpha / rank * B A, with the published training's alpha, which is the
    rank and at most 16.
    """
    merged: dict[str, Tensor] = {}
    updates: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _LORA.fullmatch(key)
        if match is None:
            merged[key] = tensor
        elif match["part"] == "base_layer":
            merged[f"{match['module']}.{match['tensor']}"] = tensor
        else:
            updates.setdefault(match["module"], {})[match["part"][:6]] = tensor
    for module, update in updates.items():
        name = f"{module}.weight"
        if set(update) != {"lora_A", "lora_B"} or name not in merged:
            raise CorruptFile(f"the low-rank update of {module} is incomplete: {sorted(update)}")
        down, up = update["lora_A"], update["lora_B"]
        scale = min(len(down), _LORA_ALPHA) / len(down)
        change = up.flatten(1).float() @ down.flatten(1).float()
        base = merged[name]
        merged[name] = (base.float() + scale * change.reshape(base.shape)).to(base.dtype)
    return merged


def _dataset(everything: Mapping[str, Any], asked: str | None, checkpoint: str) -> str:
    """The key whose statistics count."""
    if asked is not None:
        if asked not in everything:
            raise unknown_name(f"dataset in the statistics of {checkpoint}", asked, everything)
        return asked
    if len(everything) != 1:
        raise IncompatibleError(
            f"{checkpoint} has the statistics of {len(everything)} datasets; say with unnorm_key= "
            f"which one scales its actions: {', '.join(sorted(everything)) or 'there is none'}"
        )
    return next(iter(everything))
