"""Reading other libraries' files: whole, without running code, and with the tensors they name."""

from __future__ import annotations

import json
import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vlascope.errors import CorruptFile, FileMissing

__all__ = ["check_names", "read_json", "read_pickle", "read_tensors"]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        FileMissing: it is not there.
        CorruptFile: it is no JSON object.
    """
    _must_exist(path)
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptFile(f"{path} is no JSON ({error}); copy it again") from error
    if not isinstance(found, dict):
        raise CorruptFile(f"{path} holds {type(found).__name__}, not the settings of an SAE")
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        FileMissing: it is not there.
        CorruptFile: it is truncated, or something else.
    """
    _must_exist(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CorruptFile(
            f"{path} is truncated or no safetensors file ({error}); copy it again"
        ) from error


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of torch's, refusing whatever is not a tensor.

    Raises:
        FileMissing: it is not there.
        CorruptFile: it is truncated, or holds more than tensors by name.
    """
    _must_exist(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CorruptFile(
            f"{path} is truncated, or holds more than tensors, which is never run: {reason}"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise CorruptFile(f"{path} does not hold tensors by name (a state_dict)")
    return found


def check_names(
    path: Path,
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    ignored: Collection[str] = (),
) -> None:
    """Check that a file holds these tensors, of these shapes, and no others.

    Raises:
        CorruptFile: it does not; every difference is listed.
    """
    wrong = [
        f"{name} is {tuple(tensors[name].shape) if name in tensors else 'missing'}, "
        f"should be {shapes.get(name, 'absent')}"
        for name in sorted({*tensors, *shapes} - set(ignored))
        if name not in tensors or tuple(tensors[name].shape) != shapes.get(name)
    ]
    wrong += [f"{n} is not finite" for n, t in tensors.items() if not t.isfinite().all()]
    if wrong:
        raise CorruptFile(f"{path} does not hold what its settings say: {'; '.join(wrong)}")


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise FileMissing(f"there is no {path.name} in {path.parent}")
