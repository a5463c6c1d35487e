"""Checkpoints: found locally or on the hub, read, verified tensor by tensor, and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vlascope.errors import CorruptFile, FileMissing

__all__ = ["WEIGHTS", "digest", "fetch", "load_exactly", "read_json", "read_tensors"]

WEIGHTS = "model.safetensors"
_SHOWN = 5


def fetch(checkpoint: str, wanted: Sequence[str], *, revision: str | None = None) -> Path:
    """The local folder of a checkpoint; from the hub, only files that a glob of `wanted` names.

    Downloads go through huggingface_hub, which keeps what it has and resumes what it had begun.

    Raises:
        FileMissing: no such folder or repository, no access, or no network; says what to do.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    if checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") != 1:
        raise FileMissing(
            f"{checkpoint!r} is neither a folder here nor a hub id (OWNER/NAME); "
            "give the folder that holds config.json, or the id"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        found = snapshot_download(checkpoint, revision=revision, allow_patterns=list(wanted))
    except GatedRepoError as error:
        raise FileMissing(
            f"{checkpoint} is gated: accept its terms at https://huggingface.co/{checkpoint}, then "
            "`hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise FileMissing(
            f"the hub has no {checkpoint!r} (or it is private: `hf auth login`); check the name"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise FileMissing(
            f"{checkpoint} could not be downloaded and is not cached ({type(error).__name__}); "
            f"run this again with a network, or `hf download {checkpoint}` elsewhere and "
            "give the folder"
        ) from error
    return Path(found)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of a checkpoint.

    Raises:
        FileMissing: there is no such file.
        CorruptFile: it is not a JSON object.
    """
    path = folder / name
    if not path.is_file():
        there = sorted(p.name for p in folder.iterdir())[:12]
        raise FileMissing(f"{folder} has no {name} (there is: {', '.join(there) or 'nothing'})")
    try:
        content = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CorruptFile(f"{path} is not JSON ({error}); download it again") from error
    if not isinstance(content, dict):
        raise CorruptFile(f"{path} is not a JSON object; download it again")
    return content


def read_tensors(folder: Path, name: str = WEIGHTS) -> dict[str, Tensor]:
    """Every tensor of a checkpoint in one safetensors file, or in the shards that an index names.

    Raises:
        FileMissing: no such file; names what is there instead, pickles in particular.
        CorruptFile: truncated, or not safetensors.
    """
    if (folder / name).is_file():
        return _read(folder / name)
    index = folder / f"{name}.index.json"
    if index.is_file():
        shards = sorted(set(read_json(folder, index.name)["weight_map"].values()))
        missing = [shard for shard in shards if not (folder / shard).is_file()]
        if missing:
            raise FileMissing(f"{folder} lacks {', '.join(missing)}, which {index.name} names")
        return {k: v for shard in shards for k, v in _read(folder / shard).items()}
    pickles = sorted(p.name for p in folder.glob("*") if p.suffix in {".bin", ".pt", ".pth"})
    if pickles:
        raise FileMissing(
            f"{folder} has {name} in pickle form only ({', '.join(pickles[:3])}), which can run "
            "code when read; convert it with safetensors.torch.save_file and try again"
        )
    raise FileMissing(f"{folder} has no {name} and no {name}.index.json: the weights are missing")


def load_exactly(model: nn.Module, tensors: Mapping[str, Tensor], source: object) -> None:
    """Load every tensor into the place of its name, or nothing at all.

    Parameters that share their memory count as one: any of their names will do.

    Raises:
        CorruptFile: names or shapes differ; the message shows the first differences.
    """
    own = model.state_dict()
    given = dict(tensors)
    missing: list[str] = []
    for group in _sharing(own):
        there = [name for name in group if name in given]
        missing.extend(group if not there else ())
        given.update({name: given[there[0]] for name in group if there})
    extra = sorted(set(given) - set(own))
    wrong = [
        f"{name} is {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if missing or extra or wrong:
        raise CorruptFile(
            f"the weights of {source} are not those of {type(model).__name__} as its config "
            f"describes it: {_first(missing, 'missing')}{_first(extra, 'unexpected')}"
            f"{_first(wrong, 'of another shape')}nothing was loaded. Is it a checkpoint of "
            "another architecture, or half of one?"
        )
    model.load_state_dict(given, strict=True)


def digest(model: nn.Module, *more: Mapping[str, Tensor]) -> str:
    """The sha256 of every tensor of a model, by name: the hash of what was loaded.

    `more` is what else decides its actions, such as the statistics of its normalisation.
    """
    found = hashlib.sha256()
    for tensors in (model.state_dict(), *more):
        for name, tensor in sorted(tensors.items()):
            found.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
            plain = tensor.detach().cpu().contiguous().reshape(-1)
            found.update(plain.view(torch.uint8).numpy())
    return found.hexdigest()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CorruptFile(
            f"{path} is truncated or not a safetensors file ({error}); download it again"
        ) from error


def _sharing(state: Mapping[str, Tensor]) -> list[list[str]]:
    """Names grouped by the memory they stand for."""
    groups: dict[object, list[str]] = {}
    for name, tensor in state.items():
        memory = (tensor.device, tensor.data_ptr(), tensor.shape) if tensor.numel() else name
        meta = tensor.device.type == "meta"
        groups.setdefault(name if meta else memory, []).append(name)
    return list(groups.values())


def _first(names: Iterable[str], what: str) -> str:
    found = list(names)
    if not found:
        return ""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{len(found)} {what} ({', '.join(found[:_SHOWN])}{more}); "
