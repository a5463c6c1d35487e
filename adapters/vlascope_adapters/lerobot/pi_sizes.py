"""Building pi0 and pi0.5 at other sizes than the published one, which upstream writes in code."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from lerobot.configs import FeatureType, PolicyFeature
from safetensors import SafetensorError, safe_open
from transformers.initialization import no_init_weights

from vlascope_adapters.lerobot.policy import STATE

__all__ = [
    "PUBLISHED",
    "TINY",
    "Gemma",
    "SigLIP",
    "Sizes",
    "at_real_size",
    "enlivened",
    "renamed",
    "sized",
]

_ENGINE = "model.paligemma_with_expert."
_EMBEDDING = f"{_ENGINE}paligemma.model.language_model.embed_tokens.weight"
_TIED = f"{_ENGINE}paligemma.lm_head.weight"
_HEADS = 8  # upstream's joint forward pass has this number written in it


@dataclass(frozen=True)
class Gemma:
    """A stack of Gemma blocks with eight query heads."""

    width: int
    depth: int
    neurons: int
    head_dim: int
    kv_heads: int = 1


@dataclass(frozen=True)
class SigLIP:
    """The vision tower; pictures are cut into patches of `patch` x `patch` pixels."""

    width: int
    depth: int
    neurons: int
    patch: int


@dataclass(frozen=True)
class Sizes:
    """What upstream's configs leave out."""

    vision: SigLIP
    vlm: Gemma
    expert: Gemma
    words: int

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """The sizes of the network whose tensors a checkpoint holds; None where they do not tell.

        Only the headers of its files are read.
        """
        try:
            shapes = renamed(_shapes(folder))
            return cls(
                vision=_siglip(shapes),
                vlm=_gemma(shapes, f"{_ENGINE}paligemma.model.language_model."),
                expert=_gemma(shapes, f"{_ENGINE}gemma_expert.model."),
                words=shapes[_EMBEDDING][0],
            )
        except (KeyError, OSError, SafetensorError, ValueError, ZeroDivisionError):
            return None


PUBLISHED = Sizes(
    vision=SigLIP(width=1152, depth=27, neurons=4304, patch=14),
    vlm=Gemma(width=2048, depth=18, neurons=16384, head_dim=256),
    expert=Gemma(width=1024, depth=18, neurons=4096, head_dim=256),
    words=257152,
)
"""PaliGemma 3B (arXiv:2407.07726) and an expert of 300 M."""

TINY = Sizes(
    vision=SigLIP(width=48, depth=2, neurons=96, patch=14),
    vlm=Gemma(width=64, depth=3, neurons=128, head_dim=8),
    expert=Gemma(width=32, depth=3, neurons=64, head_dim=8),
    words=384,
)


def sized(kind: str, sizes: Sizes | None) -> AbstractContextManager[Any]:
    """While this is open, upstream builds `kind` (pi0, pi05) at these sizes.

    At the published sizes, and where `sizes` is None, upstream's own code is left as it is.
    """
    if sizes is None or sizes == PUBLISHED:
        return nullcontext()
    return _swapped(importlib.import_module(f"lerobot.policies.{kind}.modeling_{kind}"), sizes)


def at_real_size(kind: str = "pi0") -> Any:
    """The published configuration with three cameras on the meta device: shapes only."""
    modeling = importlib.import_module(f"lerobot.policies.{kind}.modeling_{kind}")
    name = {"pi0": "PI0", "pi05": "PI05"}[kind]
    picture = PolicyFeature(FeatureType.VISUAL, (3, 224, 224))
    config = getattr(modeling, f"{name}Config")(
        input_features={f"observation.images.cam{i}": picture for i in range(3)}
        | {STATE: PolicyFeature(FeatureType.STATE, (32,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (32,))},
        device="cpu",
    )
    config.device = "meta"
    with torch.device("meta"), no_init_weights():
        return getattr(modeling, f"{name}Policy")(config)


def renamed[T](tensors: Mapping[str, T]) -> dict[str, T]:
    """Names as upstream's own loader brings them to today's.

    Weights converted from openpi have no `model.` in front, and keep the word embedding under
    the name of the output head that was tied to it.
    """
    named = {k if k.startswith("model.") else f"model.{k}": v for k, v in tensors.items()}
    if _TIED in named:
        named.setdefault(_EMBEDDING, named[_TIED])
    return named


@contextmanager
def _swapped(modeling: Any, sizes: Sizes) -> Iterator[None]:
    """Upstream's table of variants and its two network classes, told of other sizes."""
    paligemma = modeling.PaliGemmaForConditionalGenerationWithPiGemma
    causal = modeling.PiGemmaForCausalLM

    def variant(name: str) -> Any:
        size = sizes.vlm if name == "gemma_2b" else sizes.expert
        return modeling.GemmaConfig(
            width=size.width,
            depth=size.depth,
            mlp_dim=size.neurons,
            num_heads=_HEADS,
            num_kv_heads=size.kv_heads,
            head_dim=size.head_dim,
        )

    def vlm(config: Any) -> Any:
        config.image_token_index = config.image_token_id = sizes.words - 1
        config.text_config.vocab_size, config.text_config.pad_token_id = sizes.words, 0
        seen = config.vision_config
        seen.hidden_size, seen.num_hidden_layers = sizes.vision.width, sizes.vision.depth
        seen.intermediate_size, seen.patch_size = sizes.vision.neurons, sizes.vision.patch
        seen.projection_dim = sizes.vlm.width
        return paligemma(config=config)

    def expert(config: Any) -> Any:
        config.vocab_size, config.pad_token_id = sizes.words, 0
        return causal(config=config)

    ours = {
        "get_gemma_config": variant,
        "PaliGemmaForConditionalGenerationWithPiGemma": vlm,
        "PiGemmaForCausalLM": expert,
    }
    theirs = {name: getattr(modeling, name) for name in ours}
    vars(modeling).update(ours)
    try:
        yield
    finally:
        vars(modeling).update(theirs)


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                found[name] = tuple(opened.get_slice(name).get_shape())
    return found


def _gemma(shapes: Mapping[str, tuple[int, ...]], stack: str) -> Gemma:
    neurons, width = shapes[f"{stack}layers.0.mlp.gate_proj.weight"]
    head_dim = shapes[f"{stack}layers.0.self_attn.q_proj.weight"][0] // _HEADS
    keys = shapes[f"{stack}layers.0.self_attn.k_proj.weight"][0]
    return Gemma(width, _depth(shapes, stack), neurons, head_dim, keys // head_dim)


def _siglip(shapes: Mapping[str, tuple[int, ...]]) -> SigLIP:
    tower = f"{_ENGINE}paligemma.model.vision_tower.vision_model."
    width, _, patch, _ = shapes[f"{tower}embeddings.patch_embedding.weight"]
    neurons = shapes[f"{tower}encoder.layers.0.mlp.fc1.weight"][0]
    return SigLIP(width, _depth(shapes, f"{tower}encoder."), neurons, patch)


def _depth(shapes: Mapping[str, tuple[int, ...]], stack: str) -> int:
    numbered = (re.match(rf"{re.escape(stack)}layers\.(\d+)\.", name) for name in shapes)
    return 1 + max(int(found[1]) for found in numbered if found)


def enlivened(policy: Any) -> Any:
    """Random weights of unit gain: pictures, instruction and state all reach the action."""
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=1 / math.sqrt(parameter[0].numel()))
    return policy
