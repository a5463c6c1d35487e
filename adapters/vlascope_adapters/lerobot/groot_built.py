"""Building GR00T's network without the weights of the model it was fine-tuned from.

Upstream keeps the shape of the network in the base model's config.json and nowhere else, and reads
it by downloading that model whole. Here the config alone is looked for; the weights are the
checkpoint's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.groot.configuration_groot import (
    GROOT_N1_7_BASE_MODEL,
    GrootConfig,
    is_raw_groot_n1_7_checkpoint,
)
from lerobot.policies.groot.groot_n1_7 import GR00TN17, GR00TN17Config
from lerobot.policies.groot.modeling_groot import GrootPolicy

from vlascope.errors import FileMissing, IncompatibleError
from vlascope_adapters.checkpoints import fetch, read_json
from vlascope_adapters.lerobot.policy import STATE

__all__ = ["at_real_size", "base_of", "built", "network_at"]

_CONFIG = "config.json"


def base_of(config: GrootConfig, folder: Path, checkpoint: str) -> GR00TN17Config:
    """The shape of the network that a checkpoint in lerobot's layout was trained with.

    It is read from `config.base_model_path`: a folder, here or inside the checkpoint's own (where
    `base` will do for a name), or else a hub id, of which only the config is fetched. Where it is
    the published base model and there is no network, lerobot's own copy of that config serves.

    Raises:
        FileMissing: it is nowhere; the message says what to do.
        IncompatibleError: what is there is no GR00T N1.7.
    """
    name = str(config.base_model_path)
    found = _nearby(name, folder)
    if found is not None:
        config.base_model_path = str(found)
        return network_at(found)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        try:
            return network_at(fetch(name, [_CONFIG]))
        except FileMissing:
            if name == GROOT_N1_7_BASE_MODEL:
                return GR00TN17Config()
            raise
    raise FileMissing(
        f"{checkpoint} was fine-tuned from base_model_path {name!r}, whose config.json tells the "
        f"shape of the network, and it is not here: give base=FOLDER, or base="
        f"{GROOT_N1_7_BASE_MODEL!r} if it is a fine-tune of that, or put the file at "
        f"{folder / 'base' / _CONFIG}"
    )


def network_at(folder: Path) -> GR00TN17Config:
    """A base model's config; a backbone that it names is looked for beside it.

    Raises:
        FileMissing: there is no config.json.
        IncompatibleError: it is no GR00T N1.7.
    """
    content = read_json(folder, _CONFIG)
    if not is_raw_groot_n1_7_checkpoint(folder):
        kind = content.get("type") or content.get("model_type")
        raise IncompatibleError(f"{folder} is no GR00T N1.7 base model but {kind!r}")
    network = GR00TN17Config(**content)
    backbone = _nearby(str(network.model_name), folder)
    if backbone is not None:
        network.model_name = str(backbone)
    return network


def built(config: GrootConfig, network: GR00TN17Config) -> Any:
    """Upstream's policy with the network that `network` describes, its weights random.

    Raises:
        FileMissing: the config of a backbone other than the published one cannot be had.
    """
    try:
        with _from_config(network):
            return GrootPolicy(config)
    except OSError as error:
        raise FileMissing(
            f"GR00T's backbone is built from the config of {network.model_name!r}, which cannot "
            f"be had here ({str(error).splitlines()[0]}); `hf download {network.model_name}` "
            "where there is a network"
        ) from error


def at_real_size() -> Any:
    """The published GR00T N1.7 3B (LIBERO: two cameras) on the meta device: shapes only."""
    picture = PolicyFeature(FeatureType.VISUAL, (3, 256, 256))
    config = GrootConfig(
        input_features={
            "observation.images.image": picture,
            "observation.images.wrist_image": picture,
            STATE: PolicyFeature(FeatureType.STATE, (8,)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (7,))},
        device="cpu",
    )
    with torch.device("meta"):
        return built(config, GR00TN17Config())


@contextmanager
def _from_config(network: GR00TN17Config) -> Iterator[None]:
    """Let `GrootPolicy` make its network from a config instead of from the base model's weights."""
    upstream: Any = GrootPolicy
    before = upstream._create_groot_model
    upstream._create_groot_model = lambda policy: _made(network, policy.config)
    try:
        yield
    finally:
        upstream._create_groot_model = before


def _made(network: GR00TN17Config, config: GrootConfig) -> GR00TN17:
    """The network with what the policy's config wishes, in float32."""
    if config.num_inference_timesteps is not None:
        network.num_inference_timesteps = config.num_inference_timesteps
    network.load_bf16 = network.use_flash_attention = False
    return GR00TN17(network, load_backbone_weights=False)


def _nearby(name: str, folder: Path) -> Path | None:
    """The folder of that name that holds a config.json, here or inside `folder`."""
    for place in (
        Path(name).expanduser(),
        folder / name,
        folder / Path(name).name,
        folder / "base",
    ):
        if place != folder and (place / _CONFIG).is_file():
            return place
    return None
