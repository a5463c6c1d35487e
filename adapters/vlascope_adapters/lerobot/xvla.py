"""X-VLA (Zheng et al. 2025, arXiv:2510.10274) as lerobot's `XVLAPolicy`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from lerobot.policies.xvla.modeling_xvla import (
    _is_vendored_florence_state_dict,
    _remap_vendored_florence_state_dict,
)
from torch import Tensor

from vlascope.errors import IncompatibleError
from vlascope.hooks import HookPoint, Pathway, TokenSpans
from vlascope.noise import normal
from vlascope.taps import Tap
from vlascope.types import Observation
from vlascope_adapters.lerobot import xvla_built, xvla_processing, xvla_spans, xvla_taps
from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.lerobot.policy import STATE, LeRobotAdapter
from vlascope_adapters.robots import ROBOTS, Robot

__all__ = ["XVLAAdapter"]

_WORDS = "model.vlm.language_model.shared.weight"


class XVLAAdapter(LeRobotAdapter):
    """X-VLA: Florence-2 reads the scene, one transformer denoises actions among what it read.

    Vision is DaViT; a block is one half of upstream's, which attends over windows of pixels
    (even layers) or over channels (odd ones), and all views run as one batch. The vlm is
    Florence-2's BART encoder over the first view and the text; it normalises after each sum, so
    that `resid_mid` and `resid_post` are normalised already. The trunk runs once a denoising step
    over actions, the vlm's tokens, the other views and the soft prompts, all in view of all.

    Attributes:
        domain_id: whose soft prompts and projections are used.
    """

    name: ClassVar[str] = "xvla"
    kind: ClassVar[str] = "xvla"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"unembedding", "value_vectors", "attention", "gradients"}
    )

    def __init__(
        self,
        policy: Any,
        processors: Processors,
        robot: Robot,
        checkpoint: str,
        domain_id: int | None = None,
    ) -> None:
        body = _absolute(robot, policy.config)
        whole = xvla_processing.completed(processors, policy.config, body, domain_id)
        self.domain_id = xvla_processing.domain_of(whole)
        if not 0 <= self.domain_id < policy.config.num_domains:
            known = policy.config.num_domains
            raise ValueError(f"domain_id {self.domain_id} is not one of {checkpoint}'s {known}")
        super().__init__(policy, whole, body, checkpoint)
        self._check_numbers()
        upright = {n: replace(c, upright=True) for n, c in self.info.cameras.items()}
        notes = {"domain_id": str(self.domain_id)}
        added = xvla_processing.added_steps(processors, whole)
        if added:
            notes["added_steps"] = ", ".join(added)
        self.info = replace(self.info, cameras=upright, notes=notes)

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
        domain_id: int | None = None,
    ) -> Self:
        """Load a checkpoint in lerobot's layout, every tensor of it or nothing.

        Args:
            checkpoint: a hub id, or a folder.
            device: where it runs.
            dtype: float32 or bfloat16.
            robot: what the numbers mean; an end-effector policy for LIBERO gives absolute poses,
                so that `libero` means `libero_absolute`.
            tokenizer: a folder or hub id, instead of the tokenizer that the checkpoint names.
            revision: branch, tag or commit on the hub.
            domain_id: whose soft prompts and projections (LIBERO's is 3); by default what the
                checkpoint's pipeline says, and where it says nothing, upstream's default, 0.

        Raises:
            FileMissing, IncompatibleError, CorruptFile: as for every checkpoint of lerobot's.
        """
        loaded = super().from_pretrained(
            checkpoint,
            device=device,
            dtype=dtype,
            robot=robot,
            tokenizer=tokenizer,
            revision=revision,
        )
        if domain_id is None:
            return loaded
        return cls(loaded.model, loaded.processors, loaded.robot, checkpoint, domain_id)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """DaViT of 16 to 48 channels, two BART layers, two soft-prompted blocks of width 64."""
        return cls(*xvla_built.tiny_policy(seed), f"tiny-{seed}")

    def pathways(self) -> tuple[Pathway, ...]:
        """vision, once for all views; vlm; trunk, once a denoising step."""
        config, florence = self.config, self.config.get_florence_config()
        text, per_stage = florence.text_config, florence.vision_config.embed_dim
        widths = tuple(per_stage[stage] for stage in xvla_taps.stages(config))
        images = tuple(f"image.{camera}" for camera in self.views.values())
        words = ("instruction", "padding")
        return (
            Pathway("vision", len(widths), widths[-1], 1, images, block_widths=widths),
            Pathway(
                "vlm", text.encoder_layers, text.d_model, 1,
                (images[0], *words), text.encoder_ffn_dim,
            ),
            Pathway(
                "trunk", config.depth, config.hidden_size, max(1, config.num_denoising_steps),
                ("action", *images, *words, "soft_prompt"),
                int(config.hidden_size * config.mlp_ratio),
            ),
        )  # fmt: skip

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Six sites of every block of every pathway, and what joins them as named points."""
        return xvla_taps.taps(self.config, len(self.views))

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """Attention of every block of the vlm and of the trunk; all its tokens see each other."""
        return xvla_taps.attention_taps(self.config)

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """What each token carries, row by row; only the text differs from row to row.

        Padding of the text takes part in attention like any word. `empty_view` is what stands
        for views that the policy has room for and no camera fills. The state has no token: it is
        part of every action token.
        """
        names = list(self.views.values())
        camera = self.info.cameras[names[0]]
        size = self.config.resize_imgs_with_padding or (camera.height, camera.width)
        streams = [f"image.{name}" for name in names]
        instructions = [o.instruction for o in observations]
        return xvla_spans.spans(self.config, self.processors, streams, size, instructions)

    def unembedding(self) -> tuple[Tensor, Sequence[str]]:
        """Florence-2's word embedding, (vocabulary, width), which its decoder would read out by.

        X-VLA has no use for the decoder and does not train through this matrix; rows for which
        the tokenizer has no word are `<row N>`.
        """
        matrix: Tensor = self.model.get_parameter(_WORDS).detach()
        known = xvla_processing.tokenizer_step(self.processors).input_tokenizer.get_vocab()
        words = {row: word for word, row in known.items()}
        return matrix, [words.get(row, f"<row {row}>") for row in range(len(matrix))]

    def value_vectors(self, layer: int) -> Tensor:
        """What each neuron of a vlm layer adds before the layer's norm, (neurons, width)."""
        block = xvla_taps.blocks(self.config)["vlm"][layer]
        return self.model.get_parameter(f"{block}.fc2.weight").detach().T

    def noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """What denoising starts from, (batch, chunk, the network's action numbers)."""
        shape = (self.config.chunk_size, self.model.model.dim_action)
        return normal(generators, shape, device=self.config.device)

    def differentiable_actions(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The same chunk, (batch, horizon, dim), with gradients; none reach a decided gripper."""
        inputs = self.model._build_model_inputs(self.batch(observations))
        upstream = self.model.model
        with xvla_processing.starting_from(self.noise(generators)):
            actions = type(upstream).generate_actions.__wrapped__(
                upstream, **inputs, steps=self.config.num_denoising_steps
            )
        numbers = actions.float().flatten(0, 1)
        whole = xvla_processing.whole_action(self.processors.after, numbers)
        return whole.reshape(*actions.shape[:2], -1)

    def batch(self, observations: Sequence[Observation]) -> dict[str, Any]:
        """What the upstream `predict_action_chunk` takes; it pads the state to its own size.

        Raises:
            ValueError: a picture or the state is missing or of another size.
        """
        raw: dict[str, Any] = {
            feature: torch.stack([self._pixels(o, camera) for o in observations])
            for feature, camera in self.views.items()
        }
        states = [torch.from_numpy(self.robot.state_vector(o)) for o in observations]
        task = [o.instruction for o in observations]
        return self.processors.before({**raw, STATE: torch.stack(states), "task": task})

    def _chunk(self, batch: dict[str, Any], generators: Sequence[torch.Generator]) -> Tensor:
        with xvla_processing.starting_from(self.noise(generators)):
            actions: Tensor = self.model.predict_action_chunk(batch)
        return actions.float()

    def _pixels(self, observation: Observation, camera: str) -> Tensor:
        """One picture; upside down where the policy learned from such pictures."""
        picture = super()._pixels(observation, camera)
        return picture if self.robot.cameras[camera].upright else picture.flip(1, 2)

    def _pipeline_state(self) -> tuple[Mapping[str, Tensor], ...]:
        return (*super()._pipeline_state(), {"domain_id": torch.tensor(self.domain_id)})

    def _check_numbers(self) -> None:
        """Refuse a robot whose numbers are not as many as the policy's."""
        upstream = self.model.model
        one = torch.zeros(1, 1, upstream.dim_action)
        given = 7 if self._turns_rotations() else upstream.action_space.postprocess(one).shape[-1]
        if given != self.robot.action.dim:
            raise IncompatibleError(
                f"{self.info.checkpoint} gives {given} numbers an action "
                f"(action_mode {self.config.action_mode!r}), robot {self.robot.name!r} takes "
                f"{self.robot.action.dim} {self.robot.action.names}: choose another robot="
            )
        if self.config.use_proprio and self.robot.state_dim > upstream.dim_proprio:
            raise IncompatibleError(
                f"{self.info.checkpoint} has room for a state of {upstream.dim_proprio}, robot "
                f"{self.robot.name!r} has {self.robot.state_dim}: choose another robot="
            )

    def _turns_rotations(self) -> bool:
        return xvla_processing.turns_rotations(self.config, self.robot)

    @classmethod
    def _place(cls, policy: Any, device: str, dtype: torch.dtype) -> None:
        """Upstream turns its inputs into the type that its config names."""
        names = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
        if dtype not in names:
            raise ValueError(f"X-VLA runs in float32 or bfloat16, not in {dtype}")
        policy.config.dtype = names[dtype]
        super()._place(policy, device, dtype)

    @classmethod
    @contextmanager
    def _building(cls, config: Any) -> Iterator[None]:
        """Keep the number of views: upstream adds its empty ones anew each time it builds."""
        real = [f for f in config.image_features if "empty_camera" not in f]
        views = max(config.num_image_views or 0, len(real) + config.empty_cameras)
        yield
        config.num_image_views = views

    @classmethod
    def _renamed(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Upstream's own renaming of Florence-2 as Microsoft published it."""
        if not _is_vendored_florence_state_dict(dict(tensors)):
            return tensors
        renamed: dict[str, Tensor] = _remap_vendored_florence_state_dict(dict(tensors))
        return renamed


def _absolute(robot: Robot, config: Any) -> Robot:
    """LIBERO's robot as an end-effector policy moves it: to poses, not by steps."""
    if robot.name != "libero" or not xvla_processing.gives_poses(config):
        return robot
    absolute = ROBOTS["libero_absolute"]
    cameras = {
        name: replace(camera, upright=absolute.cameras[name].upright)
        for name, camera in robot.cameras.items()
    }
    return replace(absolute, cameras=cameras)
