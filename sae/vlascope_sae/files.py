"""Autoencoders on disk: a folder with `sae.safetensors` (weights) and `sae.json` (what they are).

The weights' file carries the same description in its header, so a replacement that is interrupted
between the two files leaves one whole autoencoder, old or new.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vlascope.errors import AlreadyThere, ChecksumMismatch, CorruptFile, FileMissing
from vlascope.store.durable import write_atomically
from vlascope_sae.architectures import build
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.provenance import Provenance, Trained, check_fits

__all__ = [
    "ABOUT",
    "SCHEMA",
    "WEIGHTS",
    "Manifest",
    "Provenance",
    "TensorEntry",
    "Trained",
    "check_fits",
    "load_sae",
    "read_manifest",
    "save_sae",
]

SCHEMA: Final = "vlascope.sae/1"
WEIGHTS: Final = "sae.safetensors"
ABOUT: Final = "sae.json"
_HEADER: Final = "vlascope"


class TensorEntry(BaseModel):
    """One tensor's shape and dtype."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[int, ...]
    dtype: str


class Manifest(BaseModel):
    """What a folder holds.

    Attributes:
        config: of the architecture, which is validated by the class registered under its name.
        provenance: where it comes from.
        tensors: by name.
        weights_sha256: over every tensor's name, shape, dtype and bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.sae/1"] = SCHEMA
    config: dict[str, Any]
    provenance: Provenance
    tensors: dict[str, TensorEntry]
    weights_sha256: str


def save_sae(
    folder: str | Path,
    sae: SparseAutoencoder,
    provenance: Provenance | None = None,
    *,
    replace: bool = False,
) -> Path:
    """Write an autoencoder; what is read back gives the same outputs bit for bit.

    Args:
        folder: where; made where it is missing.
        sae: the autoencoder.
        provenance: where it comes from.
        replace: write over the autoencoder that is there.

    Returns:
        The folder.

    Raises:
        AlreadyThere: the folder holds an autoencoder, and `replace` is not set.
        DiskFull: no space left; what was there before is intact.
    """
    folder = Path(folder)
    if not replace and (folder / WEIGHTS).exists():
        raise AlreadyThere(f"{folder} holds an SAE; name another folder, or replace it on purpose")
    tensors = _tensors(sae)
    manifest = Manifest(
        config=sae.config.model_dump(mode="json"),
        provenance=provenance or Provenance(),
        tensors={
            name: TensorEntry(shape=tuple(t.shape), dtype=_dtype(t)) for name, t in tensors.items()
        },
        weights_sha256=_digest(tensors),
    )
    header = {"format": "pt", _HEADER: manifest.model_dump_json()}
    write_atomically(folder / WEIGHTS, save(tensors, header))
    write_atomically(folder / ABOUT, manifest.model_dump_json(indent=1).encode() + b"\n")
    return folder


def load_sae(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Trained:
    """Read an autoencoder; nothing is returned unless all of it is there and right.

    Args:
        folder: what `save_sae` wrote.
        device: where it shall live.
        dtype: of the weights; None for as stored.

    Raises:
        FileMissing: there is no autoencoder.
        CorruptFile: it is truncated, foreign, of another schema version, or its tensors are not
            those of its architecture.
        ChecksumMismatch: the weights are not those that were written.
        UnknownName: its architecture is not installed.
    """
    folder = Path(folder)
    tensors = _read_weights(folder)
    manifest = read_manifest(folder)
    if manifest.weights_sha256 != (digest := _digest(tensors)):
        raise ChecksumMismatch(
            f"{folder / WEIGHTS} holds other weights ({digest[:12]}) than were written "
            f"({manifest.weights_sha256[:12]}); copy it again"
        )
    try:
        sae = build(manifest.config)
    except ValidationError as error:
        raise CorruptFile(f"{folder}: its config {_first(error)}") from error
    _check_tensors(folder, tensors, _tensors(sae))
    stored = tensors["W_dec"].dtype
    sae.to(dtype=stored).load_state_dict(tensors, strict=False)
    return Trained(sae.to(device=device, dtype=dtype or stored), manifest.provenance)


def read_manifest(folder: str | Path) -> Manifest:
    """What a folder says it holds, without reading the weights.

    That is `sae.json`, or the weights' own header where the two do not belong together.

    Raises:
        FileMissing: there is no autoencoder.
        CorruptFile: it is truncated, foreign, or of another schema version.
    """
    about, weights = Path(folder) / ABOUT, Path(folder) / WEIGHTS
    if not about.exists() and not weights.exists():
        raise _missing(Path(folder))
    beside = _parse(about, about.read_bytes()) if about.exists() else None
    header = _header(weights) if weights.exists() else None
    if header is None:
        if beside is None:
            raise CorruptFile(f"{weights} was not written by vlascope.{_hint(Path(folder))}")
        return beside
    own = _parse(weights, header.encode())
    return beside if beside and beside.weights_sha256 == own.weights_sha256 else own


def _tensors(sae: SparseAutoencoder) -> dict[str, Tensor]:
    """Every tensor once, on the CPU."""
    state = sae.state_dict()
    once = [name for named in (sae.named_parameters(), sae.named_buffers()) for name, _ in named]
    return {name: state[name].cpu().contiguous() for name in once if name in state}


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _digest(tensors: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(json.dumps([name, list(tensor.shape), _dtype(tensor)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.exists():
        raise _missing(folder)
    with _whole(path), safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _header(path: Path) -> str | None:
    with _whole(path), safe_open(path, "pt") as file:
        return (file.metadata() or {}).get(_HEADER)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise CorruptFile(
            f"{path} is truncated or no safetensors file ({error}); train or copy it again"
        ) from error


def _parse(path: Path, raw: bytes) -> Manifest:
    try:
        version = str(json.loads(raw)["schema_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(
            f"{path} does not describe an SAE of vlascope.{_hint(path.parent)}"
        ) from error
    found = re.fullmatch(r"vlascope\.sae/(\d+)", version)
    if version != SCHEMA:
        newer = found is not None and int(found[1]) > int(SCHEMA.rpartition("/")[2])
        todo = "upgrade vlascope to read it" if newer else "write it again with this version"
        raise CorruptFile(f"{path} is of schema {version!r}, this vlascope reads {SCHEMA}; {todo}")
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise CorruptFile(f"{path}: {_first(error)}") from error


def _check_tensors(folder: Path, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    shapes = {name: tuple(t.shape) for name, t in found.items()}
    expected = {name: tuple(t.shape) for name, t in wanted.items()}
    wrong = [
        f"{name} is {shapes.get(name, 'missing')}, should be {expected.get(name, 'absent')}"
        for name in sorted({*shapes, *expected})
        if shapes.get(name) != expected.get(name)
    ]
    wrong += [
        f"{name} is not finite"
        for name, t in found.items()
        if t.is_floating_point() and not t.isfinite().all()
    ]
    if wrong:
        raise CorruptFile(f"{folder / WEIGHTS} does not hold this architecture: {'; '.join(wrong)}")


def _first(error: ValidationError) -> str:
    what = error.errors()[0]
    return f"{'.'.join(map(str, what['loc'])) or 'as a whole'}: {what['msg']}"


def _missing(folder: Path) -> FileMissing:
    return FileMissing(f"there is no SAE in {folder}: it has no {WEIGHTS}.{_hint(folder)}")


def _hint(folder: Path) -> str:
    """What to do about a folder that looks like another library's."""
    layouts = {"sae_weights.safetensors": "SAELens", "ae.pt": "dictionary_learning"}
    layouts |= {"cfg.json": "sparsify"}
    for file, library in layouts.items():
        if (folder / file).exists():
            return f" It looks like {library}'s layout: read it with `vlascope sae import`"
    return " Give the folder that `vlascope sae train` or save_sae wrote"
