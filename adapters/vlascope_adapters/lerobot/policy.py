"""What adapters on lerobot's policies share: observations in, the upstream call, actions out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self

import numpy as np
import torch
from lerobot.policies.factory import get_policy_class
from lerobot.processor import DeviceProcessorStep
from torch import Tensor

from vlascope.adapter import AdapterInfo, VLAAdapter
from vlascope.hooks import Pathway
from vlascope.noise import normal
from vlascope.types import ActionChunk, Observation
from vlascope_adapters.checkpoints import digest, fetch, load_exactly, read_tensors
from vlascope_adapters.lerobot.checkpoint import (
    FILES,
    Processors,
    hints,
    load_processors,
    read_config,
)
from vlascope_adapters.robots import Robot, robot_for

__all__ = ["STATE", "LeRobotAdapter"]

STATE = "observation.state"
"""Where lerobot's policies expect the robot's state."""


class LeRobotAdapter(VLAAdapter):
    """A policy of lerobot's, called as lerobot calls it.

    A subclass says what is particular: `kind`, `pathways`, `hook_points`, `token_spans`, `tiny`,
    and `_chunk` where the upstream call differs from `predict_action_chunk(batch, noise=...)`.

    Attributes:
        kind: lerobot's name of the policy type, the `type` in config.json.
        config: the upstream config.
        robot: what the numbers mean.
        views: the policy's image features and the cameras that fill them, in the policy's order.
        processors: the upstream pipelines around the policy.
    """

    kind: ClassVar[str]
    model: Any

    def __init__(self, policy: Any, processors: Processors, robot: Robot, checkpoint: str) -> None:
        self.model = policy.eval().requires_grad_(False)
        self.config, self.processors, self.robot = policy.config, processors, robot
        self.views: dict[str, str] = {
            feature: robot.camera_of(feature)
            for feature in self.config.image_features
            if "empty_camera" not in feature
        }
        used = set(self.views.values())
        self.info = AdapterInfo(
            name=self.name,
            checkpoint=checkpoint,
            checkpoint_hash=digest(policy, *self._pipeline_state()),
            pathways=self.pathways(),
            horizon=self.config.chunk_size,
            executed_steps=self.config.n_action_steps,
            action=robot.action,
            state=dict(robot.state),
            cameras={name: spec for name, spec in robot.cameras.items() if name in used},
        )

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
    ) -> Self:
        """Load a checkpoint in lerobot's layout, every tensor of it or nothing.

        Args:
            checkpoint: a hub id, or a folder with `config.json`, `model.safetensors` and the
                processor files.
            device: where it runs.
            dtype: of the weights.
            robot: what the numbers mean (see `vlascope_adapters.robots`); by default what the
                names of the checkpoint and its dataset say.
            tokenizer: a folder or hub id, instead of the tokenizer that the checkpoint names.
            revision: branch, tag or commit on the hub.

        Raises:
            FileMissing: the checkpoint, one of its files or its tokenizer is not there.
            IncompatibleError: it is of another kind, or nothing tells what its numbers mean.
            CorruptFile: a file is truncated, or tensors are missing, extra or of another shape.
        """
        folder = fetch(checkpoint, FILES, revision=revision)
        config = read_config(folder, cls.kind, checkpoint)
        chosen = robot_for(robot, hints(folder, checkpoint))
        config.device = device
        cls._prepare(config, folder, dtype)
        tokenizer = cls._tokenizer(config, folder, tokenizer)
        processors = load_processors(config, folder, checkpoint, device=device, tokenizer=tokenizer)
        tensors = cls._renamed(read_tensors(folder))
        with cls._building(config):
            policy = get_policy_class(cls.kind)(config)
        cls._place(policy, device, dtype)  # first: what is loaded is not rounded on the way
        load_exactly(policy, tensors, checkpoint)
        return cls(policy, processors, chosen, checkpoint)

    @abstractmethod
    def pathways(self) -> tuple[Pathway, ...]:
        """The stacks of blocks, read off `self.config` and `self.model`."""

    def to(self, *, device: str, dtype: torch.dtype) -> None:
        """Run somewhere else, with weights of another type, pipelines and noise included."""
        self._place(self.model, device, dtype)
        self.config.device = device
        for step in self.processors.before.steps:
            if isinstance(step, DeviceProcessorStep):
                step.device = device
                step.__post_init__()

    def predict_chunk(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> ActionChunk:
        """The upstream policy's chunk, in the robot's units."""
        actions = self._chunk(self.batch(observations), generators)
        return ActionChunk(self._decoded(actions).float().cpu().numpy())

    def batch(self, observations: Sequence[Observation]) -> dict[str, Any]:
        """What the upstream `predict_action_chunk` takes for these observations.

        Raises:
            ValueError: a picture or the state is missing or of another size.
        """
        raw: dict[str, Any] = {
            feature: torch.stack([self._pixels(o, camera) for o in observations])
            for feature, camera in self.views.items()
        }
        states = np.stack([self.robot.state_vector(o) for o in observations])
        wanted = self.config.input_features.get(STATE)
        if wanted is not None:
            if states.shape[1:] != tuple(wanted.shape):
                raise ValueError(
                    f"{self.info.checkpoint} takes a state of {tuple(wanted.shape)}, robot "
                    f"{self.robot.name!r} gives {states.shape[1:]}: choose another robot="
                )
            raw[STATE] = torch.from_numpy(states)
        return self.processors.before({**raw, "task": [o.instruction for o in observations]})

    def noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """What the flow starts from, (batch, chunk, padded action dim), one generator a row."""
        shape = (self.config.chunk_size, self.config.max_action_dim)
        return normal(generators, shape, device=self.config.device)

    def _chunk(self, batch: dict[str, Any], generators: Sequence[torch.Generator]) -> Tensor:
        """The upstream call: normalised actions, (batch, chunk, dim)."""
        return self.model.predict_action_chunk(batch, noise=self.noise(generators))

    def _decoded(self, actions: Tensor) -> Tensor:
        """Upstream's post-processing, which takes single actions, row by row of the chunk."""
        rows, horizon = actions.shape[:2]
        return self.processors.after(actions.flatten(0, 1)).unflatten(0, (rows, horizon))

    def _pixels(self, observation: Observation, camera: str) -> Tensor:
        """One picture as lerobot's datasets give it, float32 (3, height, width) in 0..1."""
        picture = torch.from_numpy(self.robot.picture(observation, camera))
        return picture.permute(2, 0, 1).float() / 255

    def _pipeline_state(self) -> tuple[Mapping[str, Tensor], ...]:
        """The statistics in the pipelines: they decide actions as weights do."""
        return tuple(
            {f"{step}.{name}": tensor for name, tensor in pipeline.steps[step].state_dict().items()}
            for pipeline in (self.processors.before, self.processors.after)
            for step in range(len(pipeline.steps))
        )

    @classmethod
    def _prepare(cls, config: Any, folder: Any, dtype: torch.dtype) -> None:
        """Change the config before the network is built (compilation off, local paths)."""

    @classmethod
    def _building(cls, config: Any) -> AbstractContextManager[Any]:
        """What has to hold while upstream builds the network."""
        return nullcontext()

    @classmethod
    def _tokenizer(cls, config: Any, folder: Any, tokenizer: str | None) -> str | None:
        """Where the tokenizer is (None: where the checkpoint says); may point the config there."""
        return tokenizer

    @classmethod
    def _place(cls, policy: Any, device: str, dtype: torch.dtype) -> None:
        """Move a policy and its weights' type, but for parts that upstream keeps in another."""
        policy.to(device=device, dtype=dtype)

    @classmethod
    def _renamed(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Names of an older layout brought to today's."""
        return tensors
