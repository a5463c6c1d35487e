"""OpenVLA-OFT as vlascope sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from vlascope.errors import CorruptFile, IncompatibleError
from vlascope.hooks import HookPoint, Pathway, TokenSpans
from vlascope.taps import Tap
from vlascope.types import ActionChunk, Observation
from vlascope_adapters.checkpoints import load_exactly, read_json, read_tensors
from vlascope_adapters.offline import ROBOT
from vlascope_adapters.openvla import points
from vlascope_adapters.openvla.adapter import OpenVLAAdapter, looking_at
from vlascope_adapters.openvla.architecture import HORIZON, Architecture
from vlascope_adapters.openvla.checkpoint import (
    has_component,
    merged_lora,
    read_component,
)
from vlascope_adapters.openvla.decoding import Bounds, BoundsKind
from vlascope_adapters.openvla.oft import OFTSizes, OpenVLAOFT
from vlascope_adapters.openvla.spans import same_for
from vlascope_adapters.openvla.tiny import tiny_release, with_reactive_weights
from vlascope_adapters.robots import Robot

__all__ = ["OpenVLAOFTAdapter", "at_real_size"]

_MARGIN = 1e-8


@dataclass(frozen=True)
class _Platform:
    """What the published code takes from the name of the robot: nothing in a checkpoint says it."""

    horizon: int
    bounds: BoundsKind


_PLATFORMS: Mapping[str, _Platform] = {
    "libero": _Platform(8, "q99"),
    "aloha": _Platform(25, "min_max"),
}


class OpenVLAOFTAdapter(OpenVLAAdapter):
    """OpenVLA fine-tuned to regress a chunk of actions in one pass.

    The vlm reads every camera's patches, the state as one token, the prompt and a run of empty
    slots, one for each number of the chunk, and every token attends to every other. Each slot's
    number is read from the token before it, by `head`: two blocks on a stream of one token an
    action, without attention. The vocabulary is there and says nothing.
    """

    name: ClassVar[str] = "openvla_oft"
    capabilities: ClassVar[frozenset[str]] = OpenVLAAdapter.capabilities | {"gradients"}

    reads_state: ClassVar[bool] = True

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        robot: Robot | str | None = None,
        tokenizer: str | None = None,
        revision: str | None = None,
        unnorm_key: str | None = None,
        center_crop: bool | None = None,
        cameras: Sequence[str] | None = None,
        horizon: int | None = None,
    ) -> Self:
        """Load a checkpoint in the hub's layout, every tensor of it or nothing.

        Beside what OpenVLA's has it holds `action_head--STEPS_checkpoint.pt` and
        `proprio_projector--STEPS_checkpoint.pt`; with FiLM also
        `vision_backbone--STEPS_checkpoint.pt`, whose low-rank updates are merged.

        Args:
            checkpoint: a hub id, or a folder.
            device: where it runs.
            dtype: of the weights.
            robot: what the numbers mean, as for OpenVLA.
            tokenizer: a folder or hub id that has `tokenizer.json`, instead of the checkpoint.
            revision: branch, tag or commit on the hub.
            unnorm_key: the dataset whose statistics scale state and actions.
            center_crop: whether pictures are cropped to the middle, as for OpenVLA.
            cameras: what it looks at, in the order of its training; by default all of the robot's.
            horizon: actions in a chunk; by default what `config.json` says (`num_actions_chunk`,
                as vlascope writes it), or else the published code's number for the robot
                (LIBERO 8, ALOHA 25).

        Raises:
            FileMissing: the checkpoint, one of its files or its tokenizer is not there.
            IncompatibleError: it is of another kind, or something about it is not known.
            CorruptFile: a file is truncated, or tensors are missing, extra or of another shape.
        """
        folder, release, chosen = cls._opened(
            checkpoint, robot, tokenizer, revision, unnorm_key, center_crop, cameras
        )
        tensors = _tensors(folder, checkpoint)
        said = horizon or read_json(folder, "config.json").get(HORIZON)
        sizes = _sizes(tensors, _horizon(said, chosen, checkpoint), checkpoint)
        network = OpenVLAOFT.without_weights(release.architecture, device, dtype, sizes=sizes)
        load_exactly(network, tensors, checkpoint)
        return cls(network, release, chosen, checkpoint, horizon=sizes.horizon)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """OpenVLA's tiny network with the state, slots for 8 actions and a head of width 48."""
        return cls.tiny_for(ROBOT, seed)

    @classmethod
    def tiny_for(cls, robot: Robot, seed: int = 0, *, horizon: int = 8, film: bool = False) -> Self:
        """The same for another robot, with as many cameras and numbers as it has."""
        release = tiny_release(robot, seed)
        sizes = OFTSizes(horizon, robot.action.dim, robot.state_dim, film)
        network = with_reactive_weights(partial(OpenVLAOFT, release.architecture, sizes), seed)
        return cls(network, release, robot, f"tiny-{seed}", horizon=horizon)

    def pathways(self) -> tuple[Pathway, ...]:
        """Both towers, once a camera; vlm and head, once."""
        blocks = self.model.action_head.model.mlp_resnet_blocks
        width = self.model.action_head.model.fc2.in_features
        return (*super().pathways(), Pathway("head", len(blocks), width, 1, ("action",)))

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Every site of every block, the projectors, the last norm and the head's output.

        Blocks of `head` have neither attention nor neurons of their own: what their one layer
        gives, rectified, is what is added.
        """
        blocks = points.block_taps(self._layers(), film=self.model.film)
        return {**blocks, **points.BACKBONE, **points.OFT_NAMED}

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """Attention of every block of the towers and of vlm."""
        return points.attention_taps(self._layers(), film=self.model.film)

    def predict_chunk(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> ActionChunk:
        """A chunk of actions; the generators are not needed."""
        actions = self.differentiable_actions(observations, generators=generators)
        return ActionChunk(actions.detach().cpu().numpy())

    def differentiable_actions(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The same chunk, (batch, horizon, dim), with gradients to activations.

        A gripper's number is a sign and has none.
        """
        like = self.model.projector.fc1.weight
        state = torch.stack([torch.from_numpy(self.robot.state_vector(o)) for o in observations])
        scaled = self.model.act(
            self.pictures(observations),
            self.words(observations),
            self.bounds["proprio"].scaled(state).float().to(like),
            self.release.prompter.stop,
        )
        return self._decoded(scaled.float())

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """Of the whole sequence in vlm, of the chunk's actions in head; towers see one camera."""
        rows = len(observations)
        slots = {"action": self.info.horizon * self.robot.action.dim, "stop": 1}
        return {
            **self._vision_spans(rows, call),
            "vlm": self._prompt_spans(observations, slots),
            "vlm.state_encoder": same_for(rows, {"state": 1}),
            "head": same_for(rows, {"action": self.info.horizon}),
        }

    @classmethod
    def _check_kind(cls, folder: Path, checkpoint: str) -> None:
        """Refuse what has no regression head."""
        if has_component(folder, "noisy_action_projector"):
            raise IncompatibleError(
                f"{checkpoint} is an OpenVLA-OFT with a diffusion head; this adapter has the "
                "regression head of the published LIBERO checkpoints"
            )
        if not has_component(folder, "action_head"):
            raise IncompatibleError(
                f"{checkpoint} has no action_head--STEPS_checkpoint.pt, so it is no OpenVLA-OFT "
                "with a regression head; if it is an OpenVLA, use the adapter 'openvla'"
            )

    @classmethod
    def _looking_at(cls, robot: Robot, cameras: Sequence[str] | None) -> Robot:
        return robot if cameras is None else looking_at(robot, cameras)

    def _range(self, name: str) -> Bounds:
        platform = _PLATFORMS.get(self.robot.name)
        kind = platform.bounds if platform else "q99"
        return Bounds.of(self.release.statistics_of(name), kind, _MARGIN)

    def _vlm_calls(self) -> int:
        return 1


def at_real_size() -> OpenVLAOFT:
    """`moojink/openvla-7b-oft-finetuned-libero-*` without its weights, on the meta device."""
    with torch.device("meta"):
        return OpenVLAOFT(Architecture(), OFTSizes(horizon=8, action_dim=7, state_dim=8))


def _tensors(folder: Path, checkpoint: str) -> dict[str, Tensor]:
    """Every tensor under the name that the network gives it.

    With FiLM the vision towers of the main file are those from before, and are left out.
    """
    tensors = read_tensors(folder)
    for part in ("action_head", "proprio_projector"):
        found = read_component(folder, part, checkpoint)
        tensors |= {f"{part}.{name}": tensor for name, tensor in found.items()}
    if has_component(folder, "vision_backbone"):
        modulated = merged_lora(read_component(folder, "vision_backbone", checkpoint))
        tensors = {n: t for n, t in tensors.items() if not n.startswith("vision_backbone.")}
        tensors |= modulated
    return tensors


def _sizes(tensors: Mapping[str, Tensor], horizon: int, checkpoint: str) -> OFTSizes:
    """What the shapes of the head and the state's projector say."""
    try:
        action_dim = len(tensors["action_head.model.fc2.weight"])
        state_dim = tensors["proprio_projector.fc1.weight"].shape[1]
    except (KeyError, IndexError) as error:
        raise CorruptFile(
            f"the head or the projector of {checkpoint} lacks {error}: it is not that of an "
            "OpenVLA-OFT with a regression head"
        ) from error
    film = any(".scale.weight" in name for name in tensors)
    return OFTSizes(horizon, action_dim, state_dim, film)


def _horizon(asked: int | None, robot: Robot, checkpoint: str) -> int:
    """How many actions a chunk has."""
    if asked is None and robot.name not in _PLATFORMS:
        raise IncompatibleError(
            f"nothing in {checkpoint} says how many actions a chunk has, and robot {robot.name!r} "
            f"is none of {sorted(_PLATFORMS)}: say it with horizon="
        )
    return asked or _PLATFORMS[robot.name].horizon
