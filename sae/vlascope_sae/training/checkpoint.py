"""All of a training on disk, whole or as it was before."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from vlascope.errors import CorruptFile, IncompatibleError
from vlascope.store.durable import write_atomically

__all__ = ["CHECKPOINT", "read_checkpoint", "write_checkpoint"]

CHECKPOINT = "checkpoint.pt"
_SCHEMA = "vlascope.sae-training/1"


def write_checkpoint(folder: Path, identity: dict[str, Any], state: dict[str, Any]) -> Path:
    """Replace the checkpoint of a training, with the state of the random generators.

    Args:
        folder: of the training.
        identity: what is trained and how; another identity will not go on from here.
        state: tensors, numbers and text, nested.

    Raises:
        DiskFull: there is no space; the checkpoint before this one is intact.
    """
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    random = {"cpu": torch.get_rng_state(), "cuda": cuda}
    raw = io.BytesIO()
    torch.save({"schema": _SCHEMA, "identity": identity, "random": random, **state}, raw)
    path = folder / CHECKPOINT
    # not getbuffer(): its view crashes the garbage collector of CPython 3.12.1
    write_atomically(path, raw.getvalue())
    return path


def read_checkpoint(
    folder: Path, identity: dict[str, Any], device: torch.device
) -> dict[str, Any] | None:
    """What was written last, with the random generators as they were; None for nothing.

    Raises:
        CorruptFile: it cannot be read.
        IncompatibleError: it is of another training.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        schema = state["schema"]
    except Exception as error:  # torch names no set of errors for a file that is foreign
        raise CorruptFile(
            f"{path} is no checkpoint of a training ({error}); delete it to train from the start"
        ) from error
    if schema != _SCHEMA:
        raise CorruptFile(f"{path} is of schema {schema!r}, this version reads {_SCHEMA!r}")
    _refuse_another(path, state["identity"], identity)
    torch.set_rng_state(state["random"]["cpu"].cpu())
    if torch.cuda.is_available() and state["random"]["cuda"]:
        torch.cuda.set_rng_state_all([s.cpu() for s in state["random"]["cuda"]])
    return state


def _refuse_another(path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    differ = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
    if differ:
        listed = "; ".join(f"{k}: {old.get(k)!r} there, {new.get(k)!r} now" for k in differ)
        raise IncompatibleError(
            f"{path} belongs to another training ({listed}); train into another folder, or "
            "delete it to start anew"
        )
