"""Loading a policy by name: `load("toy")`, or with a checkpoint and the adapter's own options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vlascope import plugins

if TYPE_CHECKING:
    import torch

    from vlascope.adapter import VLAAdapter

__all__ = ["TINY", "load"]

TINY = "tiny"
"""The checkpoint name of random weights at toy width, seed 0; `tiny-7` is seed 7."""


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
        UnknownName: no adapter goes by that name.
        FileMissing, CorruptFile: the checkpoint is not there, or is not what it should be.
    """
    import torch

    cls = plugins.adapter_class(adapter)
    kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    found = re.fullmatch(rf"{TINY}(?:-(\d+))?", checkpoint)
    if found is None:
        return cls.from_pretrained(checkpoint, device=device, dtype=kind, **options)
    if options:
        raise ValueError(f"{checkpoint!r} weights take no options; got {sorted(options)}")
    policy = cls.tiny(int(found[1] or 0))
    policy.model.to(device=device, dtype=kind)
    return policy
