"""GR00T N1.5 as vlascope sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from vlascope.adapter import AdapterInfo, VLAAdapter
from vlascope.errors import IncompatibleError
from vlascope.hooks import HookPoint, TokenSpans
from vlascope.noise import normal
from vlascope.taps import Tap
from vlascope.types import ActionChunk, Observation
from vlascope_adapters.checkpoints import digest
from vlascope_adapters.groot_n15.anatomy import attention_points, blocks, hook_points, pathways
from vlascope_adapters.groot_n15.checkpoint import Parts, build, open_checkpoint
from vlascope_adapters.groot_n15.eagle import EAGLE, load_eagle
from vlascope_adapters.groot_n15.embodiment import DataConfig, Scale
from vlascope_adapters.groot_n15.network import GR00TN15
from vlascope_adapters.robots import Robot, robot_for

__all__ = ["GR00TN15Adapter"]


class GR00TN15Adapter(VLAAdapter):
    """GR00T N1.5 (NVIDIA 2025): a vision-language model read by a diffusion transformer.

    SigLIP sees every camera's picture (`vision`); Qwen3, cut after 12 layers, reads them with the
    instruction (`vlm`); a self-attention stack works on its tokens (`vlsa`); a diffusion
    transformer denoises actions in 4 calls (`expert`), whose even blocks attend to those tokens
    and whose odd blocks attend to its own: the state, 32 learned tokens (`soft_prompt`, upstream's
    future tokens) and the actions.
    """

    name: ClassVar[str] = "groot_n15"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"unembedding", "value_vectors", "attention", "gradients"}
    )

    def __init__(
        self, parts: Parts, robot: Robot, checkpoint: str, *, executed_steps: int | None = None
    ) -> None:
        self.model: GR00TN15 = parts.network.eval().requires_grad_(False)
        self.eagle, self.embodiment, self.robot = parts.eagle, parts.embodiment, robot
        self.cameras = tuple(robot.camera_of(view) for view in self.embodiment.video)
        _check_fit(parts, robot, checkpoint)
        horizon = self.model.action_head.horizon
        statistics = self.embodiment.state.tensors("state")
        statistics |= self.embodiment.action.tensors("action")
        self.info = AdapterInfo(
            name=self.name,
            checkpoint=checkpoint,
            checkpoint_hash=digest(self.model, statistics),
            pathways=pathways(self.model, self.eagle.config, self.cameras),
            horizon=horizon,
            executed_steps=min(executed_steps or horizon, horizon),
            action=robot.action,
            state=dict(robot.state),
            cameras={name: robot.cameras[name] for name in self.cameras},
            notes={"embodiment": self.embodiment.tag},
        )

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        robot: Robot | str | None = None,
        eagle: str = EAGLE,
        embodiment: str | None = None,
        data: DataConfig | Mapping[str, Any] | None = None,
        executed_steps: int | None = None,
        revision: str | None = None,
    ) -> Self:
        """Load a checkpoint, every tensor of it or nothing.

        Args:
            checkpoint: a hub id, or a folder in the layout of nvidia/GR00T-N1.5-3B (`config.json`,
                weights, `experiment_cfg/metadata.json`) or in that of lerobot 0.4 and 0.5.
            device: where it runs.
            dtype: of the weights; bfloat16 also turns upstream's autocast on.
            robot: what the numbers mean; by default what the names of the checkpoint and its
                dataset say.
            eagle: the folder or hub id of Eagle's processor.
            embodiment: whose statistics and projectors to use; may be left out where the
                checkpoint has those of one robot.
            data: what upstream's data config says, in NVIDIA's layout.
            executed_steps: actions executed before the next inference; by default what the
                checkpoint says, or else the whole chunk.
            revision: branch, tag or commit on the hub.

        Raises:
            FileMissing: the checkpoint, one of its files or Eagle's is not there.
            IncompatibleError: it is of another kind, does not fit the robot, or nothing tells what
                its numbers mean.
            CorruptFile: a file is truncated, or tensors are missing, extra or of another shape.
        """
        opened = open_checkpoint(
            checkpoint,
            embodiment=embodiment,
            data=data if isinstance(data, DataConfig) else _data_config(data or {}),
            revision=revision,
        )
        chosen = robot_for(robot, opened.hints)
        parts = build(opened, load_eagle(eagle))
        parts.network.to(device=device, dtype=dtype)
        return cls(parts, chosen, checkpoint, executed_steps=executed_steps or opened.executed)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """The same network with random weights: two to four narrow blocks a pathway."""
        from vlascope_adapters.groot_n15.tiny import ROBOT, tiny_parts

        return cls(tiny_parts(seed), ROBOT, f"tiny-{seed}")

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Six sites of every block, and the named points."""
        return hook_points(self.model, len(self.cameras))

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """Every attention; the expert's even blocks read the vlsa, its odd ones themselves."""
        return attention_points(self.model, len(self.cameras))

    def predict_chunk(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> ActionChunk:
        """The network's chunk, in the robot's units."""
        actions = self.differentiable_actions(observations, generators=generators)
        return ActionChunk(actions.detach().float().cpu().numpy())

    def differentiable_actions(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The same, (batch, horizon, dim), as a tensor with gradients to activations.

        Raises:
            ValueError: a picture or the state is missing or of another size.
        """
        head = self.model.action_head
        like = head.future_tokens.weight
        half = like.dtype == torch.bfloat16
        shape = (head.horizon, head.action_dim)
        kind = torch.float32 if half else like.dtype
        noise = normal(generators, shape, device=like.device, dtype=kind)
        batch = self.batch(observations)
        with torch.autocast(like.device.type, torch.bfloat16, enabled=half):
            return self._decoded(self.model(**batch, noise=noise))

    def batch(self, observations: Sequence[Observation]) -> dict[str, Tensor]:
        """What the network takes for these observations, but for the noise.

        Raises:
            ValueError: a picture or the state is missing or of another size.
        """
        like = self.model.action_head.future_tokens.weight
        pictures = [
            self.eagle.picture(self.robot.picture(o, camera), self.embodiment.crop)
            for o in observations
            for camera in self.cameras
        ]
        states = torch.from_numpy(np.stack([self.robot.state_vector(o) for o in observations]))
        ids, mask = self._encode(observations)
        padded = torch.zeros(len(states), 1, self.model.action_head.state_dim)
        padded[:, 0, : states.shape[1]] = self.embodiment.state.normalise(states)
        robot = torch.full((len(states),), self.embodiment.projector)
        return {
            "pixel_values": torch.stack(pictures).to(like),
            "input_ids": ids.to(like.device),
            "attention_mask": mask.to(like.device),
            "state": padded.to(like),
            "embodiment_id": robot.to(like.device),
        }

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """What each token carries; `padding` stands first, `template.*` is the prompt's frame."""
        seen, shown = (
            TokenSpans.of_lengths({f"image.{camera}": tokens for camera in self.cameras})
            for tokens in (self.eagle.patches, self.eagle.tokens_per_picture)
        )
        ids, mask = self._encode(observations)
        read = tuple(
            self.eagle.spans(row, row_mask, self.cameras)
            for row, row_mask in zip(ids, mask, strict=True)
        )
        head = self.model.action_head
        soft = head.future_tokens.num_embeddings
        acted = TokenSpans.of_lengths({"state": 1, "soft_prompt": soft, "action": head.horizon})
        rows = len(observations)
        return {
            "vision": (seen,) * rows,
            "vision.projector": (shown,) * rows,
            "vlm": read,
            "vlsa": read,
            "expert": (acted,) * rows,
            "expert.state_encoder": (TokenSpans.of_lengths({"state": 1}),) * rows,
            "expert.soft_prompt": (TokenSpans.of_lengths({"soft_prompt": soft}),) * rows,
            "expert.action_encoder": (TokenSpans.of_lengths({"action": head.horizon}),) * rows,
        }

    def unembedding(self) -> tuple[Tensor, Sequence[str]]:
        """Qwen's output embedding, (vocabulary, width), and its tokens.

        The vlm's last `resid_post` is to go through its final norm first.
        """
        head = self.model.backbone.eagle_model.language_model.lm_head
        return head.weight.detach(), self.eagle.words()

    def value_vectors(self, layer: int) -> Tensor:
        """What each neuron of a vlm layer writes to the stream, (neurons, width)."""
        block = blocks(self.model, "vlm")[layer]
        return self.model.get_parameter(f"{block}.mlp.down_proj.weight").detach().T

    def _encode(self, observations: Sequence[Observation]) -> tuple[Tensor, Tensor]:
        said = [o.instruction or self.embodiment.default_instruction for o in observations]
        return self.eagle.encode(said, len(self.cameras))

    def _decoded(self, actions: Tensor) -> Tensor:
        """Normalised, padded actions in the robot's units."""
        scale = self.embodiment.action
        known = scale.restore(actions[..., : len(scale.zero)].float())
        return _libero_gripper(known) if _opens_from_0_to_1(self.robot, scale) else known


def _check_fit(parts: Parts, robot: Robot, checkpoint: str) -> None:
    """Refuse a robot whose numbers are not as many as the checkpoint's."""
    own, head = parts.embodiment, parts.network.action_head
    state, action = len(own.state.zero), len(own.action.zero)
    if (state, action) != (robot.state_dim, robot.action.dim):
        raise IncompatibleError(
            f"{checkpoint} ({own.tag}) takes a state of {state} numbers and gives actions of "
            f"{action}; robot {robot.name!r} has {robot.state_dim} and {robot.action.dim}: choose "
            "another robot=, or the keys that count with data=DataConfig(state=..., action=...)"
        )
    if state > head.state_dim or action > head.action_dim:
        raise IncompatibleError(
            f"{checkpoint} has room for states of {head.state_dim} and actions of "
            f"{head.action_dim}, {own.tag!r} has {state} and {action}"
        )


def _data_config(fields: Mapping[str, Any]) -> DataConfig:
    """A data config as a study file writes it."""
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return DataConfig(**plain)


def _opens_from_0_to_1(robot: Robot, action: Scale) -> bool:
    """Whether the last number is LIBERO's gripper as its demonstrations have it: 1 is open."""
    low, high = action.zero[-1], action.zero[-1] + action.span[-1]
    return robot.name == "libero" and not action.centred[-1] and bool(low >= 0) and bool(high <= 1)


def _libero_gripper(actions: Tensor) -> Tensor:
    """What upstream's LIBERO evaluation makes of the gripper: -1 opens, 1 closes."""
    return torch.cat([actions[..., :-1], torch.sign(1 - 2 * actions[..., -1:])], dim=-1)
