"""Checkpoints: found locally or on the hub, read, verified tensor by tensor, and hashed."""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vlascope.errors import CorruptFile, DiskFull, FileMissing, VlascopeError

__all__ = ["WEIGHTS", "digest", "fetch", "load_exactly", "read_json", "read_tensors"]

WEIGHTS = "model.safetensors"
_SHOWN = 5
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_LFS_POINTER = b"version https://git-lfs"


def fetch(checkpoint: str, wanted: Sequence[str], *, revision: str | None = None) -> Path:
    """The local folder of a checkpoint; from the hub, only files that a glob of `wanted` names.

    Downloads go through huggingface_hub, which keeps what it has and resumes what it had begun.

    Raises:
        FileMissing: no such folder, repository or revision, no access, no network, or no
            huggingface_hub; says what to do.
        DiskFull: there is no room for the download.
    """
    folder = Path(checkpoint).expanduser()
    if checkpoint and folder.is_dir():
        return folder
    if checkpoint.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(checkpoint):
        raise FileMissing(
            f"{checkpoint!r} is neither a folder here nor a hub id (OWNER/NAME); "
            "give the folder that holds config.json, or the id"
        )
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise FileMissing(
            f"there is no folder {checkpoint!r} here, and fetching it from the hub needs "
            "`pip install huggingface_hub`"
        ) from error
    try:
        found = snapshot_download(checkpoint, revision=revision, allow_patterns=list(wanted))
    except Exception as error:
        raise _not_fetched(checkpoint, revision, error) from error
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
        content = json.loads(path.read_text(encoding="utf-8"))
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
        shards = _shards(folder, index.name)
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
    others = sorted(p.name for p in folder.glob("*.safetensors"))
    raise FileMissing(
        f"{folder} has no {name} and no {name}.index.json: the weights are missing"
        + (f" (there is {', '.join(others[:3])})" if others else "")
    )


def load_exactly(model: nn.Module, tensors: Mapping[str, Tensor], source: object) -> None:
    """Load every tensor into the place of its name, or nothing at all.

    Parameters that share their memory count as one: any of their names will do.

    Raises:
        CorruptFile: names or shapes differ, or parameters that share their memory are given
            unequal values; the message shows the first differences.
    """
    own = model.state_dict()
    given = dict(tensors)
    missing: list[str] = []
    unequal: list[str] = []
    for group in _sharing(own):
        there = [name for name in group if name in given]
        missing.extend(group if not there else ())
        unequal.extend(f"{there[0]} = {n}" for n in there[1:] if not _equal(given, there[0], n))
        given.update({name: given[there[0]] for name in group if there})
    extra = sorted(set(given) - set(own))
    wrong = [
        f"{name} is {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if missing or extra or wrong or unequal:
        raise CorruptFile(
            f"the weights of {source} are not those of {type(model).__name__} as its config "
            f"describes it: {_first(missing, 'missing')}{_first(extra, 'unexpected')}"
            f"{_first(wrong, 'of another shape')}{_first(unequal, 'shared but unequal')}nothing "
            "was loaded. Is it a checkpoint of another architecture, or half of one?"
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


def _shards(folder: Path, index: str) -> list[str]:
    """The files that an index of shards names."""
    places = read_json(folder, index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise CorruptFile(f"{folder / index} has no weight_map of file names; download it again")
    return sorted(set(places.values()))


def _not_fetched(checkpoint: str, revision: str | None, error: Exception) -> VlascopeError:
    """Why the hub client gave up, in our words. What a broken connection raises varies."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return FileMissing(
            f"{checkpoint} is gated: accept its terms at https://huggingface.co/{checkpoint}, then "
            "`hf auth login`"
        )
    if isinstance(error, RepositoryNotFoundError):
        return FileMissing(
            f"there is no folder {checkpoint!r} here, and the hub has no {checkpoint!r} (or it is "
            "private: `hf auth login`); check the name"
        )
    if isinstance(error, RevisionNotFoundError):
        return FileMissing(f"the hub has {checkpoint}, but no revision {revision!r} of it")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return DiskFull(errno.ENOSPC, f"no room to download {checkpoint}; free some, run again")
    reason = str(error).strip().partition("\n")[0]
    return FileMissing(
        f"there is no folder {checkpoint!r} here, and it could not be downloaded and is not cached "
        f"({type(error).__name__}: {reason}); run this again with a network, or `hf download "
        f"{checkpoint}` elsewhere and give the folder"
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        remedy = "run `git lfs pull`" if _is_pointer(path) else "download it again"
        raise CorruptFile(
            f"{path} is truncated or not a safetensors file ({error}); {remedy}"
        ) from error


def _is_pointer(path: Path) -> bool:
    """Whether git left a git-lfs pointer in the place of the weights."""
    with suppress(OSError), path.open("rb") as opened:
        return opened.read(len(_LFS_POINTER)) == _LFS_POINTER
    return False


def _sharing(state: Mapping[str, Tensor]) -> list[list[str]]:
    """Names grouped by the memory they stand for."""
    groups: dict[object, list[str]] = {}
    for name, tensor in state.items():
        memory = (tensor.device, tensor.data_ptr(), tensor.shape) if tensor.numel() else name
        meta = tensor.device.type == "meta"
        groups.setdefault(name if meta else memory, []).append(name)
    return list(groups.values())


def _equal(tensors: Mapping[str, Tensor], one: str, other: str) -> bool:
    a, b = tensors[one], tensors[other]
    return a.dtype == b.dtype and torch.equal(a, b)


def _first(names: Iterable[str], what: str) -> str:
    found = list(names)
    if not found:
        return ""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{len(found)} {what} ({', '.join(found[:_SHOWN])}{more}); "
