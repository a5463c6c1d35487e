"""Loading a policy by name: `load("toy")`, or with a checkpoint and the adapter's own options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vlascope import plugins
from vlascope.errors import InvalidName, unknown_name

if TYPE_CHECKING:
    import torch

    from vlascope.adapter import VLAAdapter

__all__ = ["TINY", "load"]

TINY = "tiny"
"""The checkpoint name of random weights at toy width, seed 0; `tiny-7` is seed 7."""

_DTYPES = ("float32", "bfloat16", "float16", "float64")


def load(
    adapter: str,
    checkpoint: str = TINY,
    *,
    device: str = "cpu",
    dtype: str | torch.dtype = "float32",
    **options: Any,
) -> VLAAdapter:
    """A registered adapter's policy, ready to look into.

    Args:
        adapter: as `vlascope list` shows it.
        checkpoint: a hub id, a local folder, a name the adapter bundles, or `tiny` (`tiny-SEED`)
            for random weights at toy width.
        device: where it runs.
        dtype: of the weights, as a torch dtype or its name.
        options: what else this adapter's `from_pretrained` takes.

    Raises:
        UnknownName: no adapter, dtype or option of its goes by that name.
        InvalidName: options are given with `tiny`, which takes none.
        FileMissing, CorruptFile: the checkpoint is not there, or is not what it should be.
    """
    cls, kind = plugins.adapter_class(adapter), _dtype(dtype)
    found = re.fullmatch(rf"{TINY}(?:-(\d+))?", checkpoint)
    if found is None:
        _refuse_unknown(cls, options)
        return cls.from_pretrained(checkpoint, device=device, dtype=kind, **options)
    if options:
        raise InvalidName(f"{checkpoint!r} weights take no options; got {sorted(options)}")
    policy = cls.tiny(int(found[1] or 0))
    policy.to(device=device, dtype=kind)
    return policy


def _dtype(given: str | torch.dtype) -> torch.dtype:
    import torch

    if not isinstance(given, str):
        return given
    if given not in _DTYPES:
        raise unknown_name("dtype of weights", given, _DTYPES)
    return getattr(torch, given)


def _refuse_unknown(cls: type[VLAAdapter], options: Iterable[str]) -> None:
    """An option that `from_pretrained` does not take; lists those it takes."""
    taken = inspect.signature(cls.from_pretrained).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values()):
        return
    known = [name for name in list(taken)[1:] if name not in ("device", "dtype")]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of adapter {cls.name!r}", option, known)
