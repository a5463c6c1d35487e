"""A trained policy of lerobot's in the hub's layout, in half precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from vlascope_adapters.lerobot.checkpoint import Processors

__all__ = ["write"]


def write(policy: Any, processors: Processors, folder: Path) -> None:
    """`config.json`, `model.safetensors` and both pipelines; loaders widen halves exactly."""
    folder.mkdir(parents=True, exist_ok=True)
    policy.config.save_pretrained(folder)
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).clone().contiguous()
        for name, tensor in policy.state_dict().items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for pipeline in (processors.before, processors.after):
        pipeline.save_pretrained(folder)
