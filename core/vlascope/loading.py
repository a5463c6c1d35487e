"""Loading a policy by name: `load("toy")`, or with a checkpoint and the adapter's own options.

Plugins may name trained policies: `load("COLLECTION:NAME")`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vlascope import plugins
from vlascope.errors import InvalidName, unknown_name

if TYPE_CHECKING:
    import torch

    from vlascope.adapter import VLAAdapter

__all__ = ["TINY", "NamedCheckpoint", "load", "split_policy"]

TINY = "tiny"
"""The checkpoint name of random weights at toy width, seed 0; `tiny-7` is seed 7."""

_DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True)
class NamedCheckpoint:
    """What a registered name stands for.

    Attributes:
        adapter: a registered adapter.
        checkpoint: what its `from_pretrained` takes: a folder, a hub id, a name it bundles.
        options: what else it takes, such as the robot.
    """

    adapter: str
    checkpoint: str
    options: Mapping[str, Any] = field(default_factory=dict)


def split_policy(name: str) -> tuple[str, str | None]:
    """`ADAPTER:CHECKPOINT` (or `COLLECTION:NAME`) taken apart; None where it has no colon."""
    adapter, colon, checkpoint = name.partition(":")
    return adapter, checkpoint if colon else None


def load(
    adapter: str,
    checkpoint: str | None = None,
    *,
    device: str = "cpu",
    dtype: str | torch.dtype = "float32",
    **options: Any,
) -> VLAAdapter:
    """A registered adapter's policy, ready to look into.

    Args:
        adapter: as `vlascope list` shows it; or `ADAPTER:CHECKPOINT`; or a named checkpoint of
            that list, `COLLECTION:NAME`.
        checkpoint: a hub id, a local folder, a name the adapter bundles, or `tiny` (`tiny-SEED`)
            for random weights at toy width; `tiny` where none is given.
        device: where it runs.
        dtype: of the weights, as a torch dtype or its name.
        options: what else this adapter's `from_pretrained` takes.

    Raises:
        UnknownName: no adapter, named checkpoint, dtype or option goes by that name.
        InvalidName: options are given with `tiny`, which takes none; or two checkpoints are.
        FileMissing, CorruptFile: the checkpoint is not there, or is not what it should be.
    """
    adapter, checkpoint = _apart(adapter, checkpoint)
    if named := _named(adapter, checkpoint):
        return _load_named(named, device, dtype, options)
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


def _apart(adapter: str, checkpoint: str | None) -> tuple[str, str]:
    """Adapter (or collection) and checkpoint."""
    first, second = split_policy(adapter)
    if second is not None and checkpoint is not None:
        raise InvalidName(
            f"{adapter!r} names a checkpoint already; leave out checkpoint={checkpoint!r}"
        )
    return first, second or checkpoint or TINY


def _named(adapter: str, checkpoint: str) -> str | None:
    """The registered name that is meant, if one is.

    A policy that was loaded by name says that name as its checkpoint, so that what it recorded
    (`adapter`, `checkpoint`) leads back to it.
    """
    known = plugins.checkpoints()
    name = f"{adapter}:{checkpoint}"
    if name in known or checkpoint in known:
        return name if name in known else checkpoint
    if any(other.startswith(f"{adapter}:") for other in known) and adapter not in (
        plugins.adapters()
    ):
        raise unknown_name("named checkpoint", name, known)
    return None


def _load_named(
    name: str, device: str, dtype: str | torch.dtype, options: Mapping[str, Any]
) -> VLAAdapter:
    named: NamedCheckpoint = plugins.load("checkpoints", name)
    policy = load(
        named.adapter,
        named.checkpoint,
        device=device,
        dtype=dtype,
        **{**named.options, **options},
    )
    policy.info = replace(policy.info, checkpoint=name)
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
