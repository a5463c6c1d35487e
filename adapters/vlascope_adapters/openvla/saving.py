"""Writing a policy as a checkpoint in the hub's layout, as the published ones are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from vlascope_adapters.checkpoints import WEIGHTS
from vlascope_adapters.openvla.architecture import HORIZON

if TYPE_CHECKING:
    from vlascope_adapters.openvla.adapter import OpenVLAAdapter

__all__ = ["save_checkpoint"]

_COMPONENTS = ("action_head", "proprio_projector")
_FILM = re.compile(r"\.blocks\.(\d+)\.(block\.|scale\.|shift\.)")


def save_checkpoint(
    policy: OpenVLAAdapter, folder: Path, *, shard_bytes: int = 5 * 10**9, steps: int = 0
) -> None:
    """Write weights, config, picture preparation, tokenizer and statistics.

    Args:
        policy: an OpenVLA or an OpenVLA-OFT.
        folder: made where it is not there.
        shard_bytes: the size from which on the weights are split over several files.
        steps: of training, for the names of OFT's components.
    """
    folder.mkdir(parents=True, exist_ok=True)
    release, state = policy.release, policy.model.state_dict()
    main = {name: t for name, t in state.items() if name.partition(".")[0] not in _COMPONENTS}
    _write_weights(dict(_without_film(main)), folder, shard_bytes)
    for part in (*_COMPONENTS, *(("vision_backbone",) if policy.model.film else ())):
        own = dict(_component(state, part))
        if own:
            torch.save(own, folder / f"{part}--{steps}_checkpoint.pt")
    statistics = {release.dataset: release.statistics}
    config = release.architecture.to_config()
    if policy.info.horizon > 1:
        config[HORIZON] = policy.info.horizon
    if release.pictures.crop:
        _write_json(folder / "dataset_statistics.json", statistics)
    else:
        config["norm_stats"] = statistics
    _write_json(folder / "config.json", config)
    _write_json(folder / "preprocessor_config.json", release.pictures.to_config())
    release.prompter.tokenizer.save(str(folder / "tokenizer.json"))


def _component(state: Mapping[str, Tensor], part: str) -> Iterator[tuple[str, Tensor]]:
    """One part's tensors as its own file names them."""
    for name, tensor in state.items():
        if name.startswith(f"{part}."):
            yield name if part == "vision_backbone" else name.removeprefix(f"{part}."), tensor


def _without_film(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The main file names vision blocks as they were before they were modulated."""
    for name, tensor in state.items():
        modulated = _FILM.search(name)
        if modulated is None or modulated[2] == "block.":
            yield _FILM.sub(r".blocks.\1.", name), tensor


def _write_weights(tensors: Mapping[str, Tensor], folder: Path, shard_bytes: int) -> None:
    """One file, or several and an index."""
    shards: list[dict[str, Tensor]] = [{}]
    room = shard_bytes
    for name, tensor in tensors.items():
        if shards[-1] and tensor.nbytes > room:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = tensor.contiguous()
        room -= tensor.nbytes
    if len(shards) == 1:
        return save_file(shards[0], folder / WEIGHTS, metadata={"format": "pt"})
    stem, suffix = WEIGHTS.split(".")
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"{stem}-{number:05d}-of-{len(shards):05d}.{suffix}"
        save_file(shard, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    return _write_json(folder / f"{WEIGHTS}.index.json", index)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
