"""GR00T checkpoints: lerobot's layout, and the layout of NVIDIA's own base models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.groot.configuration_groot import (
    GROOT_ACTION_DECODE_TRANSFORM_AUTO,
    GROOT_N1_5,
    GrootConfig,
    _infer_groot_model_version_from_config,
    infer_groot_n1_7_embodiment_tag,
    is_raw_groot_n1_7_checkpoint,
)
from lerobot.policies.groot.processor_groot import GrootN17PackInputsStep, GrootN17VLMEncodeStep
from torch import Tensor

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope_adapters.checkpoints import fetch, load_exactly, read_json, read_tensors
from vlascope_adapters.lerobot.checkpoint import (
    FILES,
    Processors,
    hints,
    load_processors,
    read_config,
)
from vlascope_adapters.lerobot.groot_built import base_of, built, network_at
from vlascope_adapters.lerobot.policy import STATE
from vlascope_adapters.robots import Robot, robot_for

__all__ = ["Loaded", "load", "step_of"]

_VIEWS = "observation.images."

Loaded = tuple[Any, Processors, Robot]


def load(
    checkpoint: str,
    *,
    device: str,
    dtype: torch.dtype,
    robot: Robot | str | None,
    tokenizer: str | None,
    revision: str | None,
    base: str | None,
    embodiment: str | None,
) -> Loaded:
    """A policy with every tensor of a checkpoint, its pipelines, and the robot it drives.

    Raises:
        FileMissing: the checkpoint, a file of it, its base's config or its tokenizer is not there.
        IncompatibleError: it is of another kind, or does not fit the robot or the embodiment.
        CorruptFile: a file is truncated, or tensors are missing, extra or of another shape.
    """
    folder = fetch(checkpoint, FILES, revision=revision)
    _refuse_n1_5(folder, checkpoint)
    chosen = robot_for(robot, hints(folder, checkpoint))
    raw = is_raw_groot_n1_7_checkpoint(folder)
    if raw:
        network = network_at(folder)
        config = _raw_config(folder, checkpoint, chosen, embodiment, network)
    else:
        config = _as_wished(read_config(folder, "groot", checkpoint), base, embodiment)
        network = base_of(config, folder, checkpoint)
    config.device, config.use_bf16 = device, dtype == torch.bfloat16
    if raw:
        processors = _raw_processors(config, folder, checkpoint, device)
    else:
        processors = load_processors(config, folder, checkpoint, device=device)
    own = (str(at) for at in (folder / "vlm", folder) if (at / "tokenizer.json").is_file())
    _have_backbone_processor(processors, tokenizer or next(own, None), device, checkpoint)
    policy = built(config, network)
    _place(policy, device, dtype)
    tensors = read_tensors(folder)
    load_exactly(policy, _named(tensors, "_groot_model.") if raw else tensors, checkpoint)
    return policy, processors, chosen


def step_of(pipeline: Any, kind: type[Any], checkpoint: str) -> Any:
    """The step of a kind that every pipeline around a GR00T N1.7 has.

    Raises:
        CorruptFile: it has none.
    """
    for step in pipeline.steps:
        if isinstance(step, kind):
            return step
    raise CorruptFile(
        f"the processor files of {checkpoint} have no {kind.__name__}: they are not GR00T N1.7's"
    )


def _have_backbone_processor(
    processors: Processors, named: str | None, device: str, checkpoint: str
) -> None:
    """Load the tokenizer and the picture processor, which upstream puts off to the first batch."""
    step = step_of(processors.before, GrootN17VLMEncodeStep, checkpoint)
    step.device, step.model_name = device, named or step.model_name
    try:
        _ = step.proc
    except (OSError, ValueError) as error:
        raise FileMissing(
            f"{checkpoint} needs the tokenizer and picture processor of {step.model_name!r}, which "
            f"cannot be had here ({str(error).splitlines()[0]}). Accept its terms at "
            f"https://huggingface.co/{step.model_name} and `hf auth login` where it is gated, or "
            "give a folder that holds them with tokenizer=FOLDER"
        ) from error


def _refuse_n1_5(folder: Path, checkpoint: str) -> None:
    said = read_json(folder, "config.json")
    old = said.get("tokenizer_assets_repo") is not None
    if old or _infer_groot_model_version_from_config(said) == GROOT_N1_5:
        raise IncompatibleError(f"{checkpoint} is a GR00T N1.5; use the adapter 'groot_n15'")


def _as_wished(config: GrootConfig, base: str | None, embodiment: str | None) -> GrootConfig:
    """What a user says instead of what the checkpoint was saved with."""
    if base is not None:
        config.base_model_path = base
    if embodiment is not None:
        config.embodiment_tag = embodiment
        config.action_decode_transform = GROOT_ACTION_DECODE_TRANSFORM_AUTO
        config.__post_init__()
    return config


def _raw_config(
    folder: Path, checkpoint: str, robot: Robot, embodiment: str | None, network: Any
) -> GrootConfig:
    """What `lerobot-eval` would build for a base model, with the robot's features."""
    kwargs = read_json(folder, "processor_config.json").get("processor_kwargs", {})
    known = kwargs.get("modality_configs", {})
    tag = embodiment or infer_groot_n1_7_embodiment_tag(folder)
    if tag not in known or tag not in read_json(folder, "statistics.json"):
        raise IncompatibleError(
            f"{checkpoint} speaks for {', '.join(sorted(known)) or 'no embodiment'}; say which "
            f"with embodiment=NAME{f' ({tag!r} is none of them)' if tag else ''}"
        )
    views = known[tag].get("video", {}).get("modality_keys", [])
    if not views:
        raise CorruptFile(f"{checkpoint} names no pictures for {tag!r} in processor_config.json")
    sizes = [robot.cameras[robot.camera_of(view)] for view in views]
    pictures = {
        f"{_VIEWS}{view}": PolicyFeature(FeatureType.VISUAL, (3, size.height, size.width))
        for view, size in zip(views, sizes, strict=True)
    }
    state = PolicyFeature(FeatureType.STATE, (robot.state_dim,))
    return GrootConfig(
        base_model_path=str(folder),
        embodiment_tag=tag,
        input_features={**pictures, STATE: state},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (robot.action.dim,))},
        max_state_dim=network.max_state_dim,
        max_action_dim=network.max_action_dim,
    )


def _raw_processors(config: GrootConfig, folder: Path, checkpoint: str, device: str) -> Processors:
    """Pipelines built from a base model's statistics."""
    overrides = {"device_processor": {"device": device}}
    try:
        before, after = make_pre_post_processors(
            config, pretrained_path=str(folder), preprocessor_overrides=overrides
        )
    except (KeyError, ValueError) as error:
        raise CorruptFile(f"the processor files of {checkpoint} do not load: {error}") from error
    given = len(step_of(before, GrootN17PackInputsStep, checkpoint).stats[STATE]["min"])
    wanted = config.input_features[STATE].shape[0]
    if given != wanted:
        raise IncompatibleError(
            f"{checkpoint} takes a state of {given} numbers for {config.embodiment_tag!r}, the "
            f"robot gives {wanted}: choose another robot= or embodiment="
        )
    return Processors(before, after)


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _place(policy: Any, device: str, dtype: torch.dtype) -> None:
    """Weights to `dtype`; the frequencies of position encodings stay float32, as upstream's do."""
    for parameter in policy.parameters():
        parameter.data = parameter.data.to(dtype)
    policy.to(device)
